"""Classes that merge or split: what else must know.

A merge is exact: counts and sums of the class that goes are added to those of the class that
stays, as if there had been one all along. A split cannot divide what was counted: past populations
and steps stay with the old number, the new number begins at zero with the frame after the event,
and the step of a track across that frame is not counted. What a class is read from (intensity,
neighbours, mean image) begins anew for both, since it was measured on what is now two things.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from .class_watch import Verdict, judge_class, judge_pairs
from .classes import Classifier
from .memory import Memory
from .mixture import divided, merged
from .settings import TrackerSettings
from .transitions import TransitionCounts
from .update import Event


def judge(
    classifier: Classifier, frame: int, settings: TrackerSettings
) -> tuple[Classifier, Verdict | None]:
    """Merge or split classes of the classifier if that is due after `frame`: at most one change."""
    roster, floor = classifier.roster, classifier.floor
    if classifier.mixture is None:
        return classifier, None
    if not (roster.since >= 0).any():  # the classes began with this frame
        return replace(classifier, roster=roster.given(roster.numbers, frame)), None
    watch, verdict = judge_pairs(classifier.watch)
    if verdict is not None:
        first, second = verdict.first, verdict.second
        kept, gone = roster.place(first), roster.place(second)
        classifier = replace(
            classifier.with_classes(lambda m: merged(m, kept, gone, floor), settings),
            sums=classifier.sums.merged(first, second),
            roster=roster.merged(first, second),
            watch=watch.anew((first, second)),
        )
        return classifier, verdict
    watch, verdict = judge_class(watch, frame, settings.repeat_share, floor)
    number, part = roster.next_number(), None if verdict is None else verdict.division
    if verdict is None or part is None or number is None:
        return replace(classifier, watch=watch), None
    place, parts = roster.place(verdict.first), (part.share, part.means, part.within)
    classifier = replace(
        classifier.with_classes(lambda m: divided(m, place, *parts, floor), settings),
        sums=classifier.sums.cleared(verdict.first),
        roster=roster.appended(number).given([number], frame),
        watch=watch.anew((verdict.first, number)),
    )
    return classifier, replace(verdict, second=number)


def merge_counts(counts: TransitionCounts, kept: int, gone: int) -> TransitionCounts:
    """Add what leads from and to class `gone`, and what it lasted, to that of `kept`."""
    size = counts.counts.shape[-1]
    changed = {}
    for field in fields(counts):
        value = np.array(getattr(counts, field.name))
        for axis in range(max(value.ndim - 2, 0), value.ndim):
            if value.shape[axis] == size:
                by_class = np.moveaxis(value, axis, 0)
                by_class[kept] += by_class[gone]
                by_class[gone] = 0
        changed[field.name] = value
    return replace(counts, **changed)


def chosen_counts(counts: TransitionCounts, numbers: np.ndarray) -> TransitionCounts:
    """Leave the counts among the chosen classes."""
    return TransitionCounts(
        counts.counts[:, numbers][:, :, numbers],
        counts.dwells[numbers],
        counts.dwell_frames[numbers],
    )


def settle_classes(memory: Memory, settings: TrackerSettings) -> list[Event]:
    """Judge the classes at the end of a frame, and carry a merge or a split through the memory.

    The event says which numbers hold from the next frame on.
    """
    frame, tracks = memory.frame, memory.tracks
    memory.classifier, verdict = judge(memory.classifier, frame, settings)
    if verdict is None:
        return []
    first, second = verdict.first, verdict.second
    if verdict.division is None:
        tracks["class_id"][tracks["class_id"] == second] = first
        memory.members = memory.members.merged(first, second)
        memory.columns = memory.columns.merged(first, second)
        classes = merge_counts(memory.kinetics.classes, first, second)
        memory.kinetics = replace(memory.kinetics, classes=classes)
        return [Event(frame, "merge", before=f"{first},{second}", after=str(first))]
    tracks["class_id"][tracks["class_id"] == first] = -1
    memory.members = memory.members.started(second)
    memory.columns = memory.columns.cleared(first)
    return [Event(frame, "split", before=str(first), after=f"{first},{second}")]
