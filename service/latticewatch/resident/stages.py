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
from latticewatch_kernels.resident.conditioning import conditioned
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
from latticewatch_kernels.resident.vacancies import (
    Weighing,
    clear_of_holes,
    combined,
    judged,
)
from latticewatch_models.crystal import Crystal
from latticewatch_models.runtime import Segmenter
from latticewatch_models.segmentation import LEAST_VOTE, MERGE_DISTANCE, VOTE_REACH


@dataclass(frozen=True)
class Wanted:
    """Settings of the analysis, as in `analysis.Analyser`; whether its work is to be recorded."""

    segmenter: Segmenter
    threshold: float
    vacancy_threshold: float | None
    crystal: Crystal | None
    check: bool
    record: bool = False

    @property
    def weights(self) -> Weighing:
        """What columns are weighed by."""
        site_weight = self.segmenter.card.site_weight
        return weighing(self.crystal, self.threshold, self.vacancy_threshold, site_weight)

    @property
    def least_mark(self) -> float:
        """Least probability of a mark that anything is asked of."""
        return min(DOUBTFUL_MARK, self.threshold) if self.check else self.threshold


class CheckedAbove(NamedTuple):
    """What only the check of the network asks for: local order, rows' shifts, all detections."""

    maps: Array
    crystalline: Array
    hole: Array
    shifts: Array
    points: Array
    probability: Array


class Above(NamedTuple):
    """Parts of a frame that are wanted on the host; arrays of either side.

    `checked` is there for frames by which the network is checked, and None for others.
    """

    facts: Array
    content: Array
    judged: JudgedAbove
    reported: FoundAbove
    described: DescribedAbove
    checked: CheckedAbove | None


class Before(NamedTuple):
    """What is known of a frame before the network sees it, and the image that it sees."""

    content: Array
    facts: Array
    order: OrderAbove
    labels: LabelsAbove
    image: Array


def registered(image: Array, wanted: Wanted, room: Room) -> Array:
    """Find a frame's lattice: its facts as far as no plan is needed."""
    facts, card = slots.blank(image), wanted.segmenter.card
    shape = (image.shape[0], image.shape[1])
    harmonics = find(image, facts, room)
    register(harmonics, facts, shape, card.lattice_constant_px, card.scale_range)
    return facts


def before_network(
    frame: Array, wanted: Wanted, plan: Plan, watch: Stopwatch, place: Array | None = None
) -> Before:
    """Ask for everything up to the network.

    Parameters
    ----------
    frame
        (rows, columns) as acquired.
    wanted, plan
        Settings, and the plan that the frame is run with.
    watch
        Told how long the host asks for each stage.
    place
        What the image that the network sees is to fill; of its shape.
    """
    with watch.stage("condition"):
        image, content = conditioned(frame)
    with watch.stage("register"):
        facts = registered(image, wanted, plan.room)
        order = local_order(image, facts, plan)
        pixels = rebuilt(image, order, facts, plan)
        straight = place if plan.scaled is None else None
        # what stands out of the noise is only looked at to check the network
        least = LABEL_SIGMAS if wanted.check else None
        labels = labelled(image, pixels, order, facts, plan, least, straight)
        return Before(content, facts, order, labels, rescaled(labels.image, facts, plan, place))


def after_network(
    before: Before, heat: Array, offset: Array, wanted: Wanted, plan: Plan, watch: Stopwatch
) -> Above:
    """Ask for everything that follows from the network's maps, float32 (h, w) and (2, h, w)."""
    content, facts, order, labels, image = before
    segmenter, shape = wanted.segmenter, (image.shape[0], image.shape[1])
    stride, weights = segmenter.stride, wanted.weights
    with watch.stage("localise"):
        sites = deviations(labels, order, facts, plan)
        marks = found(
            heat, offset, stride, shape, facts, plan.room,
            wanted.least_mark, LEAST_VOTE, MERGE_DISTANCE, VOTE_REACH,
        )  # fmt: skip
        weighed = judged(sites, heat, stride, facts, plan, weights)
        reported = combined(marks, sites, weighed, order, facts, plan, weights)
        clear_of_holes(weighed, order, facts, plan, weights)
    with watch.stage("describe"):
        told = described(reported, labels, order, facts, plan, PATCH_SIZE, PATCH_SPAN)
    checked = CheckedAbove(*order, labels.shifts, *marks) if wanted.check else None
    return Above(facts, content, weighed, reported, told, checked)
