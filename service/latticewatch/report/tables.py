"""The report's words and tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from latticewatch import __version__
from latticewatch.report.contents import Contents
from latticewatch.report.keys import Absent, Estimate, Motion, dig, estimate, number, rates

Rows = tuple[tuple[str, str], ...]


def told(one: Estimate, unit: str) -> str:
    """Give an estimate with its interval and unit."""
    if not np.isfinite(one.value):
        return "not known"
    return f"{one.value:.4g} {unit} ({one.low:.4g} to {one.high:.4g})"


def level(contents: Contents) -> str:
    """Give the level of the intervals in words."""
    share = number(contents.statistics, "credible")
    return f"{100 * share:g} %" if np.isfinite(share) else "credible"


def summary(contents: Contents) -> Rows:
    """Tell the session in a table."""
    data = contents.statistics
    dose = contents.frame_dose * len(contents.frames)
    times = contents.time_s[np.isfinite(contents.time_s)]
    lattice = told(estimate(data, "lattice.constant_nm", "mean"), "nm")
    literature = number(data, "lattice.literature_nm")
    return (
        ("stream", _word(data, "stream")),
        ("crystal", contents.crystal or "not known"),
        ("frames analysed", f"{len(contents.frames)}"),
        ("frames missing", _word(data, "missing")),
        ("time", f"{times[0]:.6g} to {times[-1]:.6g} s" if len(times) else "not known"),
        (
            "pixel size",
            f"{_word(data, 'pixel_size_nm')} nm, from: {_word(data, 'pixel_size_source')}",
        ),
        ("dose of the analysed frames", f"{dose:.4g} e/Å²" if np.isfinite(dose) else "not known"),
        ("lattice constant, mean", lattice),
        ("lattice constant, literature", f"{literature:.4g} nm"),
        ("defects, all frames", f"{len(contents.defects)}"),
        ("defect density, mean", told(estimate(data, "defect_density_nm2", "mean"), "/nm²")),
    )


def motion(found: Motion) -> Rows:
    """Tell D and the hop rates in a table."""
    return (
        (f"D of {found.species}, all", told(found.diffusion, "nm²/s")),
        (f"D of {found.species}, free", told(found.free, "nm²/s")),
        *((f"hop rate along {line}", told(rate, "/s")) for line, rate in found.lines),
    )


def modes(contents: Contents) -> tuple[str, ...]:
    """Tell the displacement modes: amplitude at one standard deviation."""
    found = dig(contents.statistics, "crystallography.told")
    lines = []
    for state, one in found.items() if isinstance(found, dict) else ():
        for at, mode in enumerate(dig(one, "modes") or (), 1):
            size, error = number(mode, "amplitude_pm"), number(mode, "amplitude_error_pm")
            lines.append(f"{state}, mode {at}: amplitude {size:.2f} +- {error:.2f} pm (one s.e.).")
    return tuple(lines)


def states(contents: Contents) -> tuple[str, ...]:
    """Tell memory and rates in words."""
    data = contents.statistics
    verdict = dig(data, "transitions.memory.verdict")
    memory = (
        f"Memory test: {verdict} ({number(data, 'transitions.memory.bits'):.3g} bits, "
        f"p = {number(data, 'transitions.memory.p_value'):.2g}, "
        f"{_word(data, 'transitions.memory.pairs')} pairs)."
        if verdict
        else "Memory test: not made."
    )
    found = rates(data)
    if isinstance(found, Absent):
        return memory, f"Rates: none ({found.reason})."
    lines = "; ".join(f"{name}: {told(rate, '/s')}" for name, rate in found)
    return memory, f"Rates with {level(contents)} intervals: {lines}."


def marks(contents: Contents) -> tuple[str, ...]:
    """List alerts and change points."""
    alerts = [f"Alert in frame {row['frame']}: {row['text']}" for row in contents.alerts]
    changes = [
        f"Change point in frame {row['frame']}: {row['before']} {row['after']}"
        for row in contents.changes
    ]
    return tuple(alerts + changes) or ("No alert was raised and no change point found.",)


def methods(contents: Contents) -> tuple[str, ...]:
    """Tell how the numbers came about."""
    data = contents.statistics
    written = _word(data, "software.latticewatch")
    origins = ", ".join(
        f"{row['digest'][:12]} from frame {row['frame']} ({row['origin']})"
        for row in contents.models
    )
    way = (
        "Frames were conditioned, registered by the Bragg peaks of the lattice and segmented by a "
        "neural network; defects were linked on lattice sites from frame to frame. Classes are "
        "components of a Gaussian mixture; species are read from their intensities. Intervals are "
        f"{level(contents)} unless said otherwise. docs/tracker.md describes every estimator."
    )
    versions = (
        f"Analysed with latticewatch {written}, reported with latticewatch {__version__}. "
        f"Segmenter version {_word(data, 'model.version')}, seed {_word(data, 'model.seed')}, "
        f"{_word(data, 'model.iterations')} iterations, "
        f"run on {_word(data, 'model.providers')}; models in use: {origins or 'not known'}."
    )
    return way, versions


def parameters(contents: Contents) -> Rows:
    """List the tracker's settings as saved, and the model's digest."""
    rows = [(f"tracker.{key}", str(value)) for key, value in contents.settings.items()]
    model = dig(contents.statistics, "model")
    rows += [(f"model.{k}", str(v)) for k, v in (model if isinstance(model, dict) else {}).items()]
    return tuple(rows)


def _word(data: Any, path: str) -> str:
    found = dig(data, path)
    if isinstance(found, list):
        return ", ".join(map(str, found))
    return "not known" if found is None else _plain(found)


def _plain(found: Any) -> str:
    return f"{found:.6g}" if isinstance(found, float) else str(found)
