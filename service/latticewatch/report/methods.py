"""How the numbers came about: a paragraph, and every setting that the session recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from latticewatch import __version__
from latticewatch.report import tables
from latticewatch.report.contents import Contents
from latticewatch.report.parts import Table
from latticewatch.report.values import dig
from latticewatch.report.words import shown, word

#: What each group of the settings is called in the report.
_TITLES = {
    "software": "Software.",
    "machine": "Machine.",
    "model": "Segmenter.",
    "crystal": "Crystal.",
    "analysis": "Analysis of single frames.",
    "tracker": "Tracker (costs in nats).",
    "calibration": "Segmenter against labels, and self-training.",
    "alerts": "Alert rules.",
    "limits": "Limits of the stream.",
}


def paragraphs(contents: Contents) -> tuple[str, ...]:
    """Tell the way of a frame with the settings that hold at the end."""
    last = contents.settings[max(contents.settings)] if contents.settings else {}
    tracker = last.get("tracker", contents.tracker)
    said = [_frame(last, contents), _memory(contents, tracker), _versions(contents, last)]
    first = min(contents.settings, default=None)
    if first is None:
        said.append("The session was written by a version that did not record its settings.")
    elif first > contents.frames[0]:
        said.append(f"Of the frames before {first} the settings were not recorded.")
    return tuple(said)


def settings(contents: Contents) -> tuple[Table, ...]:
    """List every setting at the start, and what later settings changed."""
    if not contents.settings:
        rows = tuple((key, shown(value)) for key, value in contents.tracker.items())
        return (Table(rows, title="Tracker, as saved with its state."),) if rows else ()
    (first, start), *later = sorted(contents.settings.items())
    found = [
        Table(
            tuple((key, shown(value)) for key, value in group.items()) or (("none", ""),),
            title=f"{_TITLES.get(name, name)} From frame {first}.",
        )
        for name, group in start.items()
    ]
    before = start
    for frame, now in later:
        changed = tuple(_changed(before, now))
        found.append(Table(changed, ("setting", "before", "after"), f"Changed at frame {frame}."))
        before = now
    return tuple(found)


def models(contents: Contents) -> Table:
    """List the segmenters in the order of their first frames."""
    rows = (
        (str(row["frame"]), str(row["digest"])[:16], str(row["origin"]), str(row["reason"]))
        for row in contents.models
    )
    head = ("from frame", "SHA-256, begin", "origin", "why")
    return Table(tuple(rows), head, "Segmenters in use.")


def computed(contents: Contents) -> Table:
    """List what frames were computed on, in the order of the first frame of each."""
    names = ("frame", "provider", "device", "precision", "arrays", "reason")
    rows = (tuple(str(row[name]) for name in names) for row in contents.computed)
    head = ("from frame", "provider", "segmenter on", "weights", "arrays on", "why")
    return Table(tuple(rows), head, "Frames were computed on.")


def _frame(last: Mapping[str, Any], contents: Contents) -> str:
    way = (
        "Each frame was conditioned (background flattened, contrast normalised), registered by the "
        "Bragg peaks of its lattice, and segmented by a neural network"
    )
    if not last:
        return f"{way}."
    least = dig(last, "analysis.vacancy_threshold")
    vacancies = (
        f"those of probability {shown(least)} and more"
        if least is not None
        else "at the threshold of greatest expected F1 in each frame"
    )
    return (
        f"{way} ({word(last, 'model.file')}, {word(last, 'model.weights')} weights, "
        f"{_computed_on(last, contents)}). Marks of probability "
        f"{word(last, 'analysis.threshold')} and more were reported; vacancies on the second "
        f"sublattice by what their columns' intensity tells, {vacancies}. The host computes in "
        f"{word(last, 'machine.host_precision')}."
    )


def _computed_on(last: Mapping[str, Any], contents: Contents) -> str:
    """Say what it ran on, by the frames themselves where they tell."""
    if not contents.computed:
        return f"run on {word(last, 'machine.providers')}, arrays on {word(last, 'machine.arrays')}"
    if len(contents.computed) > 1:
        return "not all on the same processor: a table below says from which frame on which"
    (row,) = contents.computed
    return f"run by {row['provider']} on {row['device']}, arrays on {row['arrays']}"


def _memory(contents: Contents, tracker: Mapping[str, Any]) -> str:
    return (
        "Defects were linked on lattice sites from frame to frame, across gaps of at most "
        f"{word(tracker, 'max_gap_frames')} frames. Classes are the components of a Gaussian "
        f"mixture (at the start {word(tracker, 'classes')}, {word(tracker, 'covariance')} "
        f"covariances, fitted first to {word(tracker, 'warm_up')} descriptors with seed "
        f"{word(tracker, 'seed')}); species are read from intensities. Intervals are "
        f"{tables.level(contents)} unless said otherwise. docs/tracker.md describes every "
        "estimator with its source."
    )


def _versions(contents: Contents, last: Mapping[str, Any]) -> str:
    data = contents.statistics
    software = last.get("software") or data.get("software") or {}
    named = ", ".join(f"{name} {version}" for name, version in software.items())
    return (
        f"Analysed with {named or 'software that is not known'}; reported with latticewatch "
        f"{__version__}. Segmenter version {word(data, 'model.version')}, trained with seed "
        f"{word(data, 'model.seed')} over {word(data, 'model.iterations')} iterations."
    )


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for group in {**before, **now}:
        old, new = before.get(group) or {}, now.get(group) or {}
        for key in {**old, **new}:
            if (key in old, old.get(key)) != (key in new, new.get(key)):
                was, is_now = (shown(part[key]) if key in part else "-" for part in (old, new))
                yield f"{group}.{key}", was, is_now
