"""Ask a device for all that is wanted of a frame, without a look at any of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from latticewatch.agreement import DOUBTFUL_MARK
from latticewatch.detections import PATCH_SIZE, PATCH_SPAN
from latticewatch.resident.weights import weighing
from latticewatch.stopwatch import Stopwatch
from latticewatch_kernels.labelling import LABEL_SIGMAS
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.description import described
from latticewatch_kernels.resident.deviations import deviations
from latticewatch_kernels.resident.labels import labelled
from latticewatch_kernels.resident.objects import found
from latticewatch_kernels.resident.order import local_order
from latticewatch_kernels.resident.parts import (
    DescribedAbove,
    FoundAbove,
    JudgedAbove,
    LabelsAbove,
    OrderAbove,
)
from latticewatch_kernels.resident.periodic import rebuilt
from latticewatch_kernels.resident.plan import Plan, Room
from latticewatch_kernels.resident.registration import register
from latticewatch_kernels.resident.scaling import rescaled
from latticewatch_kernels.resident.search import find
from latticewatch_kernels.resident.vacancies import combined, judged
from latticewatch_models.crystal import Crystal
from latticewatch_models.runtime import Segmenter
from latticewatch_models.segmentation import LEAST_VOTE, MERGE_DISTANCE, VOTE_REACH, RanOn


@dataclass(frozen=True)
class Wanted:
    """Settings of the analysis, as in `analysis.Analyser`."""

    segmenter: Segmenter
    threshold: float
    vacancy_threshold: float | None
    crystal: Crystal | None
    check: bool

    @property
    def least_mark(self) -> float:
        """Least probability of a mark that anything is asked of."""
        return min(DOUBTFUL_MARK, self.threshold) if self.check else self.threshold


class Above(NamedTuple):
    """Parts of a frame that are wanted on the host; arrays of either side."""

    facts: Array
    content: Array
    order: OrderAbove
    shifts: Array
    found: FoundAbove
    judged: JudgedAbove
    reported: FoundAbove
    described: DescribedAbove


class Asked(NamedTuple):
    """What the device was asked for, its maps beside, and what the network ran on."""

    above: Above
    labels: LabelsAbove
    ran_on: RanOn | None


def registered(image: Array, wanted: Wanted, room: Room) -> Array:
    """Find a frame's lattice: its facts as far as no plan is needed."""
    facts, card = slots.blank(image), wanted.segmenter.card
    shape = (image.shape[0], image.shape[1])
    harmonics = find(image, facts, room)
    register(harmonics, facts, shape, card.lattice_constant_px, card.scale_range)
    return facts


def asked(image: Array, content: Array, wanted: Wanted, plan: Plan, watch: Stopwatch) -> Asked:
    """Ask for everything of a conditioned frame.

    Parameters
    ----------
    image, content
        By `conditioning.conditioned`.
    wanted
        Settings.
    plan
        That the frame is run with.
    watch
        Told how long the host asks for each stage.
    """
    with watch.stage("register"):
        facts = registered(image, wanted, plan.room)
        order = local_order(image, facts, plan)
        pixels = rebuilt(image, order, facts, plan)
        labels = labelled(image, pixels, order, facts, plan, LABEL_SIGMAS)
    with watch.stage("segment"):
        seen = wanted.segmenter.segment(rescaled(labels.image, facts, plan))
    with watch.stage("localise"):
        segmenter = wanted.segmenter
        weights = weighing(
            wanted.crystal, wanted.threshold, wanted.vacancy_threshold, segmenter.card.site_weight
        )
        sites = deviations(labels, order, facts, plan)
        marks = found(
            seen.heat, seen.offset, seen.stride, seen.shape, facts, plan.room,
            wanted.least_mark, LEAST_VOTE, MERGE_DISTANCE, VOTE_REACH,
        )  # fmt: skip
        weighed = judged(sites, seen.heat, seen.stride, facts, plan, weights)
        reported = combined(marks, sites, weighed, order, facts, plan, weights)
    with watch.stage("describe"):
        told = described(reported, labels, order, facts, plan, PATCH_SIZE, PATCH_SPAN)
    above = Above(
        facts, content, order, labels.shifts, marks, weighed, reported, told,
    )  # fmt: skip
    return Asked(above, labels, seen.ran_on)
