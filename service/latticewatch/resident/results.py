"""What came to the host of a frame, as the analysis gives it."""

from __future__ import annotations

import numpy as np

from latticewatch.agreement import Counts, agreement
from latticewatch.computed import Computed
from latticewatch.detections import Detections
from latticewatch.resident.stages import Above, CheckedAbove, Wanted
from latticewatch.stopwatch import Stopwatch
from latticewatch.vacancies import LEAST_HOST, SUBLATTICE, Vacancies, lacking_shares
from latticewatch_kernels.bragg import few_peaks, not_hexagonal
from latticewatch_kernels.columns import no_harmonic
from latticewatch_kernels.conditioning import check_content
from latticewatch_kernels.displacements import Displacements
from latticewatch_kernels.extension import too_small
from latticewatch_kernels.resident.facts import Facts, Refusal
from latticewatch_kernels.resident.labels import labels
from latticewatch_kernels.resident.order import area_fractions, order_map
from latticewatch_kernels.resident.parts import (
    DescribedAbove,
    JudgedAbove,
    LabelsAbove,
    OrderAbove,
)
from latticewatch_kernels.resident.plan import Plan


def refuse(facts: Facts, content: np.ndarray, shape: tuple[int, int]) -> None:
    """Raise what the host would have raised of a frame that is refused.

    Raises
    ------
    FrameContentError, NoLatticeError
    """
    check_content(content)
    peaks, refusal = int(facts.number("peaks")), facts.refusal
    if refusal is Refusal.FEW_PEAKS:
        raise few_peaks(peaks)
    if refusal is Refusal.NOT_HEXAGONAL:
        raise not_hexagonal(peaks)
    if refusal in (Refusal.NO_HARMONIC, Refusal.NO_SITE):
        raise no_harmonic()
    if refusal is Refusal.TOO_SMALL:
        raise too_small(min(shape), facts.number("constant"))


def results(
    told: Above,
    facts: Facts,
    above: LabelsAbove,
    plan: Plan,
    wanted: Wanted,
    watch: Stopwatch,
    computed: Computed | None,
    runs: int,
) -> Detections:
    """Make detections of a frame that was not refused.

    Parameters
    ----------
    told
        What came down; the detections keep its memory.
    above
        The frame's maps on the device.
    plan, wanted, watch
        What it was run with.
    computed, runs
        What it was run on, and how often.
    """
    number = int(facts.number("reported"))
    points, probability = (part[:number] for part in told.reported)
    described = DescribedAbove(*(part[:number] for part in told.described))
    agreed = None
    if told.checked is not None:
        with watch.stage("check"):
            agreed = _agreement(told.checked, above, facts, plan, wanted)
    return Detections(
        lattice=facts.lattice,
        x_px=points[:, 0],
        y_px=points[:, 1],
        probability=probability,
        cells=described.cells,
        sublattice=described.sublattice,
        centre=described.intensity[:, 0],
        neighbours=described.intensity[:, 1:],
        noise=facts["noise_by_site"],
        patches=described.patches,
        turns=described.turns,
        fractions=area_fractions(facts, plan),
        in_hole=described.in_hole.view(np.bool_),
        timings_ms=dict(watch.timings_ms),
        agreement=agreed,
        vacancies=_vacancies(told, facts, wanted),
        displaced=Displacements(described.shift, described.error),
        computed=computed,
        runs=runs,
    )


def _vacancies(told: Above, facts: Facts, wanted: Wanted) -> Vacancies | None:
    """Every judged column that no hole touches; none where columns were not asked."""
    if facts["host"][SUBLATTICE] <= LEAST_HOST:
        return None
    number, amounts = int(facts.number("clear")), len(lacking_shares(wanted.crystal))
    judged = JudgedAbove(*(part[:number] for part in told.judged))
    return Vacancies(
        judged.cells, judged.points, judged.probability, judged.bright.view(np.bool_),
        facts["shares"][:amounts], judged.intensity, judged.ratio, judged.odd,
    )  # fmt: skip


def _agreement(
    told: CheckedAbove, above: LabelsAbove, facts: Facts, plan: Plan, wanted: Wanted
) -> Counts:
    """Hold the network's marks against the labels, which looks at the device again."""
    order = order_map(facts, plan, OrderAbove(told.maps, told.crystalline, told.hole))
    made = labels(above, order, facts, told.shifts)
    number = int(facts.number("found"))
    points, probability = told.points[:number], told.probability[:number]
    return agreement(made, facts.lattice, points, probability, wanted.threshold)
