"""What differs from the perfect crystal, and what a column's intensity is held against."""

from __future__ import annotations

import numpy as np

from latticewatch_kernels.arrays import array_module, download
from latticewatch_kernels.columns import ColumnMap, neighbours
from latticewatch_kernels.conditioning import sample_step
from latticewatch_kernels.labelling import Labels
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.launch import launch, launch_together
from latticewatch_kernels.noise import NoiseLine
from latticewatch_kernels.order import BLOCKS_PER_CELL, OrderMap
from latticewatch_kernels.resident import lines
from latticewatch_kernels.resident.facts import Facts, slots_of
from latticewatch_kernels.resident.lines import Pixels
from latticewatch_kernels.resident.parts import LabelsAbove, OrderAbove, PixelsAbove
from latticewatch_kernels.resident.plan import Plan
from latticewatch_kernels.resident.tables import table
from latticewatch_kernels.sampling import LEAST_WEIGHT
from latticewatch_kernels.straightening import LEAST_CERTAIN_PX, LONGEST, WORTH_PX, RowShifts


def labelled(
    image: Array,
    pixels: PixelsAbove,
    order: OrderAbove,
    facts: Array,
    plan: Plan,
    threshold: float | None,
    straight: Array | None = None,
) -> LabelsAbove:
    """Put scan lines back, hold what is left against its noise, and calibrate columns.

    The twins are in `labelling.label`, `columns.SitesInside` and `columns.column_map`. Maps differ
    by 2**-17 of the greatest pixel at most: the matched filter passes two Fourier transforms of
    single precision, and row shifts are sums as `lines` says. Given the matched residual the
    calibration differs by 1e-12, since ranks are exact, but where a site's place is rounded to
    another float32.

    Parameters
    ----------
    image
        float32 (rows, columns), conditioned.
    pixels, order
        Of the frame.
    facts
        LINE, UNIT, CROSSTALK, HOST, OFFSET, NOISE_BY_SITE and NOISE are filled, and MATCHED_LINE
        where there is a threshold.
        Refused with NO_SITE where none can be measured, and with NO_ROOM where the plan's
        table does not hold all cells.
    plan
        The frame's.
    threshold
        Significance beyond which a pixel is bright or dark; None where that is not asked.
    straight
        What the image with its scan lines put back is to fill, float32 (rows, columns).
    """
    residual, periodic, hole = pixels
    given = Pixels(residual, periodic, hole, sample_step(plan.shape))
    classes = lines.intensity_classes(given)
    line = lines.noise_line(given, classes, slots_of(facts, "line"))
    constant = slots_of(facts, "constant")
    shifts = lines.row_shifts(given, line, LEAST_CERTAIN_PX, LONGEST, constant)
    straight, left = lines.straightened(image, given, shifts, WORTH_PX, straight)
    smooth = lines.matched(left, *_gaussian_spectrum(facts, plan.shape))
    z: Array | None = None
    bright: Array | None = None
    dark: Array | None = None
    if threshold is None:
        matched = lines.clear_holes(smooth, hole)
    else:
        of_matched = lines.noise_line(
            given._replace(residual=smooth), classes, slots_of(facts, "matched_line")
        )
        matched, z, bright, dark = lines.significance(smooth, given, of_matched, threshold)
    _calibrate(matched, order, facts, plan)
    return LabelsAbove(straight, periodic, left, matched, z, bright, dark, hole, shifts)


def labels(above: LabelsAbove, order: OrderMap, facts: Facts, shifts: np.ndarray) -> Labels:
    """Bring the labels of a frame to the host, after one wait.

    Parameters
    ----------
    above
        The frame's maps, all of them.
    order, facts
        On the host already.
    shifts
        `LabelsAbove.shifts`, likewise.
    """
    image, periodic, residual, matched, z, *masks = (part.copy() for part in download(above[:-1]))
    bright, dark, hole = (mask.view(np.bool_) for mask in masks)
    return Labels(
        image, RowShifts(shifts[:-1], float(shifts[-1])), periodic, residual, matched, z,
        bright, dark, hole, order, column_map(facts),
        NoiseLine(*(float(number) for number in facts["line"])),
    )  # fmt: skip


def column_map(facts: Facts) -> ColumnMap:
    """Calibration of columns, by a frame's facts."""
    return ColumnMap(
        facts.number("sigma"), facts.number("unit"), facts.number("crosstalk"),
        facts["host"], facts["offset"], facts["noise_by_site"], facts.number("noise"),
    )  # fmt: skip


def _gaussian_spectrum(facts: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Half spectrum of the column's shape, along each axis; twin in `labelling`, to rounding."""
    xp, (rows, columns) = array_module(facts), shape
    down, across = xp.empty(rows, np.float32), xp.empty(columns // 2 + 1, np.float32)
    launch(
        "labels", "gaussian_spectrum", rows + columns // 2 + 1, facts,
        facts, rows, columns, np.float64(LEAST_WEIGHT), down, across,
    )  # fmt: skip
    return down, across


def _calibrate(matched: Array, order: OrderAbove, facts: Array, plan: Plan) -> None:
    """Calibrate the matched residual on all sites of its frame."""
    xp, room = array_module(facts), max(plan.room.table, 3)  # a cell, whatever is planned
    values, deviation = xp.empty((2, room), np.float64)
    launch(
        "labels", "site_values", room, facts,
        facts, matched, *plan.shape, order.maps[3:], order.hole, *plan.cells,
        plan.stride * BLOCKS_PER_CELL, room, values,
    )  # fmt: skip
    launch(
        "labels", "less_crosstalk", room, facts,
        facts, values, room, table(facts, _neighbour_table), deviation,
    )  # fmt: skip
    launch_together("labels", "offsets", 3, facts, facts, deviation, room)
    launch_together("labels", "calibration", 1, facts, facts, deviation, room)


def _neighbour_table() -> np.ndarray:
    """Six nearest sites of each, int32 (3, 6, 3): sublattice and cell from the site's own."""
    found = [(other, *cell) for _, other, cell in neighbours()]
    return np.array(found, np.int32).reshape(3, 6, 3)
