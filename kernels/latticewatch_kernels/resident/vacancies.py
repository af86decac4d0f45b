"""Vacancies that columns tell of, and what a frame reports, found on the device.

The twins are in the service (`latticewatch.vacancies`), whose constants come as a `Weighing`.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

from latticewatch_kernels.arrays import array_module
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import ORDERED, blocks_of, launch, launch_together
from latticewatch_kernels.order import BLOCKS_PER_CELL
from latticewatch_kernels.resident.parts import FoundAbove, JudgedAbove, OrderAbove, SitesAbove
from latticewatch_kernels.resident.plan import Plan
from latticewatch_kernels.resident.tables import table

SOURCE, REPORTED = "vacancies", "reported"

#: As in the source: amounts, and threads that weigh the columns of a frame.
MOST_AMOUNTS, WEIGHING = 4, 512


@dataclass(frozen=True)
class Weighing:
    """What columns are weighed by; constants of `latticewatch.vacancies`, in the source's order.

    Attributes
    ----------
    threshold, vacancy_threshold
        Least probability of the network's detections, and of vacancies; below 0 of the latter
        takes what makes the expected F1 greatest.
    least_host
        Lowest host column of the second sublattice that is asked.
    site_weight, surest
        Of the network's logit (`ModelCard.site_weight`), and how near to 0 and 1 it is read.
    lacking
        One to `MOST_AMOUNTS` shares of itself that a column may lack, least first.
    """

    threshold: float
    vacancy_threshold: float
    least_host: float
    site_weight: float
    surest: float
    evidence: float
    overclaim: float
    odd_level: float
    expected_share: float
    expected_sites: float
    rarer: float
    steps: float
    least_threshold: float
    bright_sigmas: float
    logit_sigmas: float
    longest_logit: float
    outstanding_sigmas: float
    least_adatom: float
    covered_level: float
    outstanding_range: float
    lacking: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.lacking) <= MOST_AMOUNTS:
            raise ValueError(
                f"a column may lack {len(self.lacking)} amounts, and kernels weigh 1 to "
                f"{MOST_AMOUNTS}: give the crystal fewer readings, or use --device cpu"
            )


def judged(
    sites: SitesAbove, heat: Array, stride: int, facts: Array, plan: Plan, weighing: Weighing
) -> JudgedAbove:
    """Weigh every column of the second sublattice.

    The twins are `network_evidence`, `judge_vacancies` and `best_threshold`. Sums in another order
    of double precision and closed forms in place of solvers: within 1e-9 of the twins, but for
    probabilities, which logits of single precision move by 4e-6.

    Parameters
    ----------
    sites
        Of the frame.
    heat, stride
        float32 (h, w), the network's map, and pixels of its image to a cell.
    facts
        SHARES and THRESHOLD are filled; refused with NO_ROOM where there are more sites than the
        plan has room for.
    plan
        The frame's.
    weighing
        Constants.
    """
    xp, room, amounts = array_module(facts), plan.room.judged, len(weighing.lacking)
    by = table(facts, _constants, weighing)
    logit, intensity, odd, probability = xp.empty((4, room), np.float64)
    ratio, odds = xp.empty((2, room, amounts), np.float64)
    cells, points = xp.empty((room, 2), np.int32), xp.empty((room, 2), np.float64)
    bright = xp.empty(room, np.int8)
    launch(
        SOURCE, "columns_heard", room, facts,
        facts, by, sites.cells, sites.points, sites.deviation, sites.error, plan.room.sites, room,
        heat, *heat.shape, stride, cells, points,
        logit, bright, intensity, ratio, odd,
    )  # fmt: skip
    launch_together(
        SOURCE, "columns_weighed", 1, facts,
        facts, by, sites.deviation, sites.error, plan.room.sites, room,
        logit, ratio, odds, xp.empty(room, np.int32), probability,
        threads=WEIGHING,
    )  # fmt: skip
    return JudgedAbove(cells, points, probability, bright, intensity, ratio, odd)


def combined(
    found: FoundAbove,
    sites: SitesAbove,
    judged_: JudgedAbove,
    order: OrderAbove,
    facts: Array,
    plan: Plan,
    weighing: Weighing,
) -> FoundAbove:
    """Put the network's detections, judged columns and those that stand out together.

    The twins are `outstanding_columns` and `combine`; same points in the same order. Where the
    second sublattice has no columns to ask, these are the network's detections alone.

    Parameters
    ----------
    found, sites, judged_, order
        Of the frame.
    facts
        REPORTED is filled; refused with NO_ROOM where there are more points than detections have
        room.
    plan, weighing
        As for `judged`.
    """
    xp, sites_, most = array_module(facts), plan.room.sites, plan.room.found
    room = plan.room.judged
    by = table(facts, _constants, weighing)
    outstanding, reported = xp.empty(sites_, np.float64), xp.empty(most, np.int8)
    launch(
        REPORTED, "columns_outstanding", sites_, facts,
        facts, by, sites.sublattice, sites.deviation, sites.error, sites.level, sites_, outstanding,
    )  # fmt: skip
    launch(
        REPORTED, "detections_placed", most, facts,
        facts, by, *found, most, order.maps[3:], *plan.cells, plan.stride * BLOCKS_PER_CELL,
        sites.cells, sites_, judged_.bright, room, reported, outstanding,
    )  # fmt: skip
    candidates = most + room + sites_
    parts = blocks_of(candidates)
    told, kept = xp.empty(candidates, np.float64), xp.empty(candidates, np.int8)
    before, counts = xp.empty(candidates, np.int32), xp.empty(parts, np.int32)
    launch_together(
        REPORTED, "points_told", parts, facts,
        facts, by, found.probability, reported, most, judged_.probability, room, outstanding,
        sites_, told, kept, before, counts,
    )  # fmt: skip
    listed, likely = xp.empty(most, np.int32), xp.empty(most, np.float64)
    launch_together(
        REPORTED, "points_listed", parts, facts,
        facts, told, kept, before, counts, parts, candidates, most, listed, likely,
    )  # fmt: skip
    made = FoundAbove(xp.empty((most, 2), np.float64), xp.empty(most, np.float64))
    launch_together(
        REPORTED, "points_ordered", blocks_of(most, ORDERED), facts,
        facts, listed, likely, most, found.points, judged_.points, room, sites.points, *made,
    )  # fmt: skip
    return made


def clear_of_holes(
    judged_: JudgedAbove, order: OrderAbove, facts: Array, plan: Plan, weighing: Weighing
) -> None:
    """Leave out judged columns that a hole is near, in place; the others keep their order.

    Near are those within a lattice constant; twin: `order.OrderMap.near_hole`.

    Parameters
    ----------
    judged_, order
        Of the frame.
    facts
        CLEAR is filled: how many columns are left.
    plan, weighing
        As for `judged`.
    """
    by = table(facts, _constants, weighing)
    launch_together(
        "clear", "columns_clear", 1, facts,
        facts, by, order.hole, *plan.cells, plan.stride * BLOCKS_PER_CELL, plan.room.sites,
        plan.room.judged, *judged_,
    )  # fmt: skip


def _constants(weighing: Weighing) -> np.ndarray:
    """Constants as the source numbers them; unused amounts are 0."""
    *plain, lacking = astuple(weighing)
    rest = [0.0] * (MOST_AMOUNTS - len(lacking))
    return np.array([*plain, len(lacking), *lacking, *rest], float)
