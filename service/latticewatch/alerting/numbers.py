"""The numbers of a step's frames, gathered from where each of them is known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from latticewatch.alerting.quantities import POPULATION
from latticewatch.alerting.reading import Reading, Seen, Value
from latticewatch.alerting.watch import Watch
from latticewatch.results import FrameResult
from latticewatch.standing import Standing
from latticewatch.steps import Analysed, Step
from latticewatch.tracker.update import Event

#: Places in the statistics of a diffusion coefficient that a rule may ask for.
_DIFFUSION = ("diffusion", "free", "D_nm2_s")


def held(
    watch: Watch,
    step: Step,
    results: Sequence[FrameResult],
    newest: Mapping[str, Any],
    standing: Standing,
    learnt: Mapping[str, Any] | None,
) -> tuple[Watch, list[FrameResult]]:
    """Hold rules against each frame of a step; gives the state after it, and its results.

    The results have the alerts that were raised or have ceased with them. Parameters are those of
    `readings`.
    """
    done = []
    for result, reading in zip(
        results, readings(step, results, newest, standing, learnt), strict=True
    ):
        watch, alarms = watch.after(reading)
        done.append(replace(result, alerts=alarms))
    return watch, done


def readings(
    step: Step,
    results: Sequence[FrameResult],
    newest: Mapping[str, Any],
    standing: Standing,
    learnt: Mapping[str, Any] | None,
) -> list[Reading]:
    """Give what each frame of a step says.

    Parameters
    ----------
    step, results
        The step and the results that it came to, one a frame.
    newest
        `Tracker.newest` after it.
    standing
        Of segmenter and labels after it.
    learnt
        The tracker's statistics after it; None where no rule asks for them.
    """
    dose = step.arrival.header.dose_e_per_A2 if isinstance(step, Analysed) else None
    if not isinstance(step, Analysed) or step.detections is None:
        return [Reading(r.frame, r.time_s, dose=dose, lost=True) for r in results]
    (result,) = results
    values = {**_of_frame(newest), **_of_session(standing, learnt or {})}
    kinds = {event.kind for event in result.events}
    signs = {"segmenter_disagreement": standing.low, "lattice_lost": "lattice_lost" in kinds}
    seen = tuple(_changes(result.events))
    return [Reading(result.frame, result.time_s, values, signs, seen, dose)]


def _of_frame(newest: Mapping[str, Any]) -> dict[str, Value]:
    counts = {**newest["states"], **newest["populations"]}
    values = {
        "defect_density": newest["defect_density_nm2"],
        **{f"{name}_fraction": share for name, share in newest["fractions"].items()},
        **{f"{POPULATION} {name}": count for name, count in counts.items()},
    }
    return {name: Value(value) for name, value in values.items() if math.isfinite(value)}


def _of_session(standing: Standing, learnt: Mapping[str, Any]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    estimate = standing.estimate
    if estimate.mean is not None:
        values["agreement"] = Value(estimate.mean, estimate.low, estimate.high)
    found: Any = learnt
    for part in _DIFFUSION:
        found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, Mapping):
        values["diffusion"] = Value(found["value"], found["low"], found["high"])
    return values


def _changes(events: Iterable[Event]) -> Iterable[Seen]:
    """Read change points; their levels are texts that begin with the series' place."""
    for event in events:
        if event.kind == "change":
            series = event.after.partition(" ")[0] or event.before.partition(" ")[0]
            yield Seen(series, event.before, event.after)
