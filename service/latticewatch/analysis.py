"""One frame to its defects: a pure function of the frame, with no memory of others.

Workers run it on as many frames as there are threads, in any order; see decision 0002.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from latticewatch.agreement import DOUBTFUL_MARK, Counts, agreement
from latticewatch.computed import HOST, Computed
from latticewatch.detections import PATCH_SIZE, PATCH_SPAN, Detections
from latticewatch.devices.placement import Placement
from latticewatch.resident import Plans, Runner, Wanted
from latticewatch.stopwatch import Stopwatch
from latticewatch.vacancies import (
    LEAST_HOST,
    SUBLATTICE,
    Vacancies,
    best_threshold,
    combine,
    judge_vacancies,
    lacking_shares,
    network_evidence,
    outstanding_columns,
)
from latticewatch_kernels.columns import site_intensity
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.deviations import Deviations, SitesInView
from latticewatch_kernels.displacements import ColumnsInView, Displacements
from latticewatch_kernels.labelling import Labels, label
from latticewatch_kernels.lattice import (
    NEIGHBOUR_CELLS,
    NEIGHBOUR_SUBLATTICE,
    Array,
    FrameFaultError,
    Lattice,
)
from latticewatch_kernels.patches import lattice_patches, rescale, scale_for
from latticewatch_kernels.registration import registered
from latticewatch_models.crystal import Crystal
from latticewatch_models.runtime import Segmenter
from latticewatch_models.segmentation import MERGE_DISTANCE, Segmentation


@dataclass(frozen=True)
class Analyser:
    """Settings of the analysis, and the segmenter that the workers share.

    Attributes
    ----------
    segmenter
        Says where defects are.
    threshold
        Least probability of a defect that is reported.
    vacancy_threshold
        The same of vacancies on the second sublattice, which their columns' intensity tells; none
        takes what makes the expected F1 of the frame greatest (`vacancies.best_threshold`).
    crystal
        The specimen, which says what a column may lack; without, one atom of two or all.
    check
        Hold the segmenter against the frame's labels; changes nothing else.
    placement
        Where frames are analysed.
    record
        Whether the work on a device is recorded as CUDA graphs.
    plans
        With which frames on a device are run.
    """

    segmenter: Segmenter = field(default_factory=Segmenter)
    threshold: float = 0.5
    vacancy_threshold: float | None = None
    crystal: Crystal | None = None
    check: bool = False
    placement: Placement = field(default_factory=Placement)
    record: bool = False
    plans: Plans = field(default_factory=Plans, repr=False, compare=False)

    def __call__(self, frame: np.ndarray) -> Detections:
        """Find the defects of one frame.

        Parameters
        ----------
        frame
            (rows, columns), any detector type, as acquired.

        Raises
        ------
        FrameContentError
            NaN, infinity or a constant frame.
        NoLatticeError
            No hexagonal lattice stands out of the noise.
        """
        kind = None
        if self.record and not self.check and self.placement.gpu is not None:
            plan = self.plans.of(frame.shape)
            kind = None if plan is None else (plan.form, frame.dtype, self._wanted)
        return self.placement.run(frame, self.together, self._below, kind)

    @property
    def _wanted(self) -> Wanted:
        return Wanted(
            self.segmenter, self.threshold, self.vacancy_threshold, self.crystal, self.check,
            self.record,
        )  # fmt: skip

    def together(
        self, frames: Sequence[np.ndarray] | np.ndarray, gpu: int
    ) -> list[Detections | FrameFaultError]:
        """Analyse frames of one shape and type together on a device, the current one.

        Of a stack (n, rows, columns) all are brought up by one copy.
        """
        here = self.placement
        return Runner(self._wanted, self.plans, here.recordings, gpu, here.note)(frames)

    def _below(self, frame: np.ndarray) -> Detections:
        """Analyse a frame on the host."""
        watch = Stopwatch()
        with watch.stage("condition"):
            image = condition(frame)
        with watch.stage("register"):
            lattice, harmonics = registered(image)
            labels = label(image, lattice, harmonics=harmonics)
        seen, factor = self._segment(labels.image, lattice, watch)
        with watch.stage("localise"):
            sites = None
            if labels.columns.host[SUBLATTICE] > LEAST_HOST:
                sites = SitesInView.of(labels, lattice)
            (points, probability), heard = self._heard(seen, lattice, factor, sites)
        agreed: Counts | None = None
        if self.check:
            with watch.stage("check"):
                agreed = agreement(labels, lattice, points, probability, self.threshold)
            # surest first, and no mark takes the place of a surer one: the rest is as without check
            reported = probability >= self.threshold
            points, probability = points[reported], probability[reported]
        with watch.stage("localise"):
            vacancies, (points, probability) = self._with_vacancies(
                labels, lattice, heard, (points, probability)
            )
        with watch.stage("describe"):
            described = _describe(lattice, labels, points, probability, watch)
        computed = Computed.of(seen.ran_on, HOST)
        return replace(described, agreement=agreed, vacancies=vacancies, computed=computed)

    def _with_vacancies(
        self,
        labels: Labels,
        lattice: Lattice,
        heard: tuple[Deviations, np.ndarray] | None,
        found: tuple[np.ndarray, np.ndarray],
    ) -> tuple[Vacancies | None, tuple[np.ndarray, np.ndarray]]:
        """Let columns speak for themselves: faint vacancies, and what stands out beyond doubt."""
        if heard is None:
            return None, found
        deviations, logit = heard
        host = float(labels.columns.host[SUBLATTICE])
        further = network_evidence(logit, deviations, self.segmenter.card.site_weight)
        lacking = lacking_shares(self.crystal)
        vacancies = judge_vacancies(deviations, host, lacking, further=further)
        sites = _sites(labels, lattice, found[0])
        least = self.vacancy_threshold
        least = best_threshold(vacancies.probability) if least is None else least
        outstanding = outstanding_columns(deviations)
        told = combine(found, sites, vacancies, outstanding, least)
        clear = ~labels.order.near_hole(vacancies.points, lattice.constant)
        return vacancies.take(clear), told

    def _segment(
        self, image: Array, lattice: Lattice, watch: Stopwatch
    ) -> tuple[Segmentation, float]:
        """Give what the network sees, and the scale that the frame was brought to for it."""
        served, kept = self.segmenter.lattice_constant_px, self.segmenter.card.scale_range
        factor = scale_for(lattice.constant, served, kept)
        with watch.stage("segment"):
            seen = self.segmenter.segment(image if factor == 1.0 else rescale(image, factor))
        return seen, factor

    def _heard(
        self, seen: Segmentation, lattice: Lattice, factor: float, view: SitesInView | None
    ) -> tuple[tuple[np.ndarray, np.ndarray], tuple[Deviations, np.ndarray] | None]:
        """Positions in pixels of the frame and probabilities, surest first; what columns say.

        The latter are deviations, and the network's logits on the second sublattice.
        """
        least = min(DOUBTFUL_MARK, self.threshold) if self.check else self.threshold
        points, probability = seen.detections(least, MERGE_DISTANCE * lattice.constant * factor)
        told = None
        if view is not None:
            columns = view.points[view.sublattice == SUBLATTICE]
            told = view.deviations(), seen.logit_at((columns + 0.5) * factor - 0.5)
        return ((points + 0.5) / factor - 0.5, probability), told


def _describe(
    lattice: Lattice,
    labels: Labels,
    points: np.ndarray,
    probability: np.ndarray,
    watch: Stopwatch,
) -> Detections:
    """Put the detections on lattice sites and measure what the tracker wants to know of each."""
    cells, sublattice = _sites(labels, lattice, points)
    sites = lattice.site_positions(cells, sublattice)
    metal = np.flatnonzero(sublattice == 0)
    around = ColumnsInView.of(labels, lattice, cells[metal])
    intensity = site_intensity(labels, lattice, *_with_neighbours(cells, sublattice))
    turns = intensity[len(cells) :].reshape(-1, 3).argmin(axis=1)
    patches = deviation_patches(labels, lattice, sites, turns)
    return Detections(
        lattice=lattice,
        x_px=points[:, 0],
        y_px=points[:, 1],
        probability=np.asarray(probability, float),
        cells=cells,
        sublattice=sublattice,
        centre=intensity[: len(cells)],
        neighbours=intensity[len(cells) :].reshape(-1, 3),
        noise=labels.columns.noise_by_site,
        patches=patches * np.float32(labels.columns.unit),
        turns=turns.astype(np.int8),
        fractions=labels.fractions,
        in_hole=labels.order.near_hole(points, lattice.constant),
        timings_ms=watch.timings_ms,
        displaced=_spread_out(around.displacements(labels), metal, len(cells)),
    )


def deviation_patches(
    labels: Labels, lattice: Lattice, sites: np.ndarray, turns: np.ndarray
) -> np.ndarray:
    """Cut `Detections.patches` around sites (n, 2), each turned by `turns` (n,), as the frame lies.

    In units of the image: times ``labels.columns.unit`` they are in those of the host column.
    """
    points = sites + labels.order.displacement_at(sites)
    # The matched residual, not its significance: noise and brightness differ between frames.
    return lattice_patches(labels.matched, points, lattice, turns, PATCH_SIZE, PATCH_SPAN)


def _spread_out(found: Displacements, metal: np.ndarray, number: int) -> Displacements:
    """Displacements around the detections on sublattice 0, where dopants are; NaN elsewhere."""
    place = np.full(number, -1)
    place[metal] = np.arange(len(metal))
    return found.take(place)


def _sites(labels: Labels, lattice: Lattice, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells (n, 2) and sublattice (n,) of the sites that points (n, 2) stand on.

    A scan is never quite straight: sites are assigned where the undistorted crystal would be.
    """
    ideal = points - labels.order.displacement_at(points)
    cells, sublattice, _ = lattice.nearest_site(ideal)
    return cells, sublattice


def _with_neighbours(cells: np.ndarray, sublattice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells and sublattice of n columns, then of the nearest three of the other to each; (4 n)."""
    around = cells[:, None, :] + NEIGHBOUR_CELLS[sublattice]
    every = np.concatenate([cells, around.reshape(-1, 2)])
    return every, np.concatenate([sublattice, np.repeat(NEIGHBOUR_SUBLATTICE[sublattice], 3)])
