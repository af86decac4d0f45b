"""The report's tables and the text beside them, section by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from latticewatch.report.changes import Jump
from latticewatch.report.contents import Contents
from latticewatch.report.movement import Motion, Walk
from latticewatch.report.parts import Table
from latticewatch.report.surroundings import amplitudes, shifts
from latticewatch.report.values import ClassImage, Rate, dig, estimate, number
from latticewatch.report.words import plain, probability, shown, told, word

#: Below this p-value a test is said to speak against what it tests.
_SIGNIFICANT = 0.05


def level(contents: Contents) -> str:
    """Give the level of the intervals in words."""
    share = number(contents.statistics, "credible")
    return f"{100 * share:g} %" if np.isfinite(share) else "credible"


def summary(contents: Contents) -> Table:
    """Tell the session in a table."""
    data = contents.statistics
    dose = contents.frame_dose * len(contents.frames)
    times = contents.time_s[np.isfinite(contents.time_s)]
    refused = "; ".join(f"{count}: {why}" for why, count in contents.refused.items())
    size = plain(number(data, "pixel_size_nm"), "nm")
    pixel = f"{size}, from: {word(data, 'pixel_size_source')}"
    rows = (
        ("stream", word(data, "stream")),
        ("crystal", contents.crystal or "not known"),
        ("frames analysed", f"{len(contents.frames)}"),
        ("frames without a result", word(data, "missing")),
        ("frames refused", refused or "none"),
        ("time", f"{times[0]:.6g} to {times[-1]:.6g} s" if len(times) else "not known"),
        ("pixel size", pixel),
        ("dose of a frame", plain(contents.frame_dose, "e/Å²")),
        ("dose of the analysed frames", plain(dose, "e/Å²")),
        ("lattice constant, mean", told(estimate(data, "lattice.constant_nm", "mean"), "nm")),
        ("lattice constant, literature", plain(number(data, "lattice.literature_nm"), "nm")),
        ("detections, all frames", f"{len(contents.defects)}"),
        ("defect density, mean", told(estimate(data, "defect_density_nm2", "mean"), "/nm²")),
        (
            "agreement of segmenter and labels",
            told(estimate(data, "calibration.agreement", "mean")),
        ),
    )
    return Table(rows)


def classes(found: Sequence[ClassImage]) -> Table:
    """Tell what every class is and how bright."""
    head = ("class", "reads as", "chance", "share", "looks", "intensity ratio", "expected")
    rows = (
        (
            str(one.number),
            one.species,
            plain(one.chance),
            plain(one.share),
            f"{one.members:.0f}",
            told(one.ratio) if np.isfinite(one.ratio.value) else "no host column",
            plain(one.expected) if np.isfinite(one.ratio.value) else "",
        )
        for one in found
    )
    title = (
        "Classes. Intensity ratio: of what most of the class is, over the host column, with its "
        "interval; expected: the same from atomic numbers."
    )
    return Table(tuple(rows), head, title)


def motion(found: Motion) -> tuple[Table, ...]:
    """Tell D, its tensor and the hop rates, of all vacancies and of free ones."""
    walks = (found.all, found.free)

    def row(name: str, *cells: str) -> tuple[str, ...]:
        return (name, *cells)

    rows = [
        row("displacements", *(plain(walk.steps) for walk in walks)),
        row("D", *(told(walk.diffusion, "nm²/s") for walk in walks)),
        row("D per dose", *(told(walk.per_dose, "nm² Å²/e") for walk in walks)),
        row("hop rate", *(told(walk.hops, "/s") for walk in walks)),
        row("hop rate per dose", *(told(walk.hops_per_dose, "Å²/e") for walk in walks)),
        row("flicker within a frame", *(plain(walk.wrong_nm, "nm") for walk in walks)),
    ]
    directions = [
        row(f"hop rate along {line}", *(told(dict(walk.lines)[line], "/s") for walk in walks))
        for line, _ in found.all.lines
        if all(line in dict(walk.lines) for walk in walks)
    ]
    for at, name in enumerate(("D xx (along a1)", "D xy", "D yy (90° on)")):
        directions.append(row(name, *(told(walk.tensor[at], "nm²/s") for walk in walks)))
    directions += [
        row("ratio of principal values", *(told(walk.ratio) for walk in walks)),
        row("fast axis from a1", *map(_axis, walks)),
        row(
            "isotropy, χ² (2 d.o.f.)",
            *(f"{plain(walk.chi2)}, {probability(walk.p_value)}" for walk in walks),
        ),
    ]
    head = ("", f"all {found.species}", f"free {found.species}")
    return (
        Table(tuple(rows), head, "Diffusion and hops."),
        Table(tuple(directions), head, "By direction of the lattice."),
    )


def _axis(walk: Walk) -> str:
    if not np.isfinite(walk.fast_axis):
        return "not known"
    return f"{walk.fast_axis:.0f}° ± {walk.fast_axis_error:.0f}°"


def isotropy(found: Motion) -> tuple[str, ...]:
    """Say in words whether vacancies move alike along the three lines."""
    said = []
    for name, walk in (("All", found.all), ("Free", found.free)):
        if not np.isfinite(walk.p_value):
            continue
        alike = walk.p_value >= _SIGNIFICANT
        text = (
            "nothing speaks against equal rates along the three lines"
            if alike
            else "the rates along the three lines differ"
        )
        said.append(f"{name} {found.species}: {text} ({probability(walk.p_value)}).")
    return (" ".join(said),) if said else ()


def displacements(contents: Contents) -> tuple[Table, ...]:
    """Tell how far dopants stand off centre, and the amplitudes of the modes."""
    off = tuple(
        (one.state, one.basis, told(one.toward), told(one.across))
        for one in shifts(contents.statistics)
    )
    modes = tuple(
        (one.state, str(one.order), f"{one.amplitude:.2f} ± {one.error:.2f}", f"{one.noise:.2f}")
        for one in amplitudes(contents.statistics)
    )
    found = (
        Table(
            off,
            ("state", "basis", "toward the vacancy, +y (pm)", "across, +x (pm)"),
            "Dopant from the middle of its six neighbours.",
        ),
        Table(
            modes,
            ("state", "mode", "amplitude (pm)", "noise taken off (pm)"),
            "Displacement modes at one standard deviation, ± one standard error.",
        ),
    )
    return tuple(table for table in found if table.rows)


def memory(data: Mapping[str, Any]) -> str:
    """Tell in words what the memory test says."""
    part = "transitions.memory"
    verdict = dig(data, f"{part}.verdict")
    if not verdict:
        return "Memory test: not made."
    lags = dig(data, f"{part}.bits_by_lag")
    fades = (
        f" After 1, 2 and 3 frames the labels share {', '.join(f'{bit:.3f}' for bit in lags)} "
        "bits: kinetics fades, dopants that merely differ do not."
        if isinstance(lags, list) and all(isinstance(bit, float) for bit in lags)
        else ""
    )
    return (
        f"Memory test: {verdict} (mutual information {number(data, f'{part}.bits'):.3g} bits, "
        f"{probability(number(data, f'{part}.p_value'))}, {word(data, f'{part}.pairs')} pairs of "
        f"frames).{fades}"
    )


def rates(found: Sequence[Rate]) -> Table:
    """Tell the rates from state to state."""
    rows = ((f"{one.before} to {one.after}", told(one.per_s), told(one.per_dose)) for one in found)
    return Table(tuple(rows), ("from, to", "rate (1/s)", "rate per dose (Å²/e)"), "Rates.")


def dwell(data: Mapping[str, Any]) -> Table:
    """Tell the mean stays in the states."""
    frame_s = number(data, "transitions.rates.frame_s")
    counted = {one.get("state"): one for one in _list(data, "transitions.dwell")}
    hidden = {one.get("state"): one for one in _list(data, "transitions.hidden.dwell")}
    rows = []
    for state, one in counted.items():
        stay = estimate(hidden.get(state), "", "mean_frames")
        seconds = plain(frame_s * stay.value)
        rows.append(
            (
                str(state),
                told(stay),
                seconds,
                told(estimate(one, "", "mean_frames")),
                f"{shown(one.get('exits'))} in {shown(one.get('frames_at_risk'))}",
            )
        )
    head = (
        "state", "hidden states (frames)", "the same (s)", "from labels (frames)",
        "label exits in frames",
    )  # fmt: skip
    return Table(tuple(rows), head, "Mean stays.")


def populations(contents: Contents) -> Table:
    """Tell counts, area fractions and what all frames together tell of vacancies."""
    data = contents.statistics

    def rows(part: str, unit: str = "", scale: float = 1.0) -> list[tuple[str, ...]]:
        found = dig(data, part)
        return [
            (f"{name}{unit}", *_now_and_mean(one, scale))
            for name, one in (found.items() if isinstance(found, Mapping) else ())
        ]

    body = [
        *rows("populations", " in a frame"),
        *[one for one in rows("states", " in a frame") if "+" in one[0]],
        *rows("fractions", " area (%)", 100.0),
    ]
    for name, part in (
        ("vacant columns expected, all frames", "fusion.expected_vacancies"),
        ("defect density (/nm²)", "defect_density_nm2"),
    ):
        found = dig(data, part)
        body += [(name, *_now_and_mean(found))] if found else []
    hops = estimate(data, "fusion.hop_chance_per_frame")
    if np.isfinite(hops.value):
        body.append(("chance that a vacancy hops in a frame", "", told(hops)))
    return Table(tuple(body), ("", "last frame", "mean of the frames"), "Populations and phases.")


def _now_and_mean(one: Any, scale: float = 1.0) -> tuple[str, str]:
    mean = estimate(one, "", "mean")
    scaled = type(mean)(scale * mean.value, scale * mean.low, scale * mean.high)
    return plain(scale * number(one, "now")), told(scaled)


def jumps(found: Sequence[Jump]) -> Table:
    """List the change points as they are numbered in the figure."""
    head = ("no.", "first frame", "shown in", "series", "before", "after")
    rows = (
        (one.label, str(one.frame), str(one.reported), one.name, one.before, one.after)
        for one in found
    )
    return Table(tuple(rows), head, "Change points.")


def alerts(contents: Contents) -> Table:
    """List the alerts."""
    rows = (
        (str(row["frame"]), plain(_time(row), "s"), "raised" if row["active"] else "over",
         str(row["severity"]), str(row["text"]))
        for row in contents.alerts
    )  # fmt: skip
    return Table(tuple(rows), ("frame", "time", "", "severity", "what"), "Alerts.")


def _time(row: Mapping[str, Any]) -> float:
    return float("nan") if row["time_s"] is None else float(row["time_s"])


def _list(data: Any, path: str) -> list[Mapping[str, Any]]:
    found = dig(data, path)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
