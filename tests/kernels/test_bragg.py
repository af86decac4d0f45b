from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from latticewatch_kernels.bragg import find_lattice, reduce_basis
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.lattice import NoLatticeError


def same_lattice(found: np.ndarray, true: np.ndarray) -> float:
    """How far one basis (rows) is from whole combinations of the other, both ways."""
    there, back = found @ np.linalg.inv(true), true @ np.linalg.inv(found)
    return float(max(np.abs(there - np.rint(there)).max(), np.abs(back - np.rint(back)).max()))


@settings(max_examples=40, deadline=None)
@given(
    rotation=st.floats(0.0, 360.0),
    constant=st.floats(np.log(6.0), np.log(60.0)).map(np.exp),
    rows=st.integers(64, 400),
    columns=st.integers(64, 400),
    shear=st.floats(-0.1, 0.1),
    stretch=st.floats(-0.03, 0.03),
    second=st.sampled_from([0.15, 0.35, 1.0]),
    counts=st.sampled_from([0.0, 8.0, 30.0]),
    seed=st.integers(0, 1000),
)
def test_any_sheared_hexagonal_lattice_is_found(
    synthesis, rotation, constant, rows, columns, shear, stretch, second, counts, seed
):
    constant = min(constant, min(rows, columns) / 5.5)
    drawn = synthesis.crystal(
        (rows, columns),
        constant=constant,
        rotation=rotation,
        strain=np.array([[1.0 + stretch, shear], [0.0, 1.0]]),
        heights=(1.0, second, 0.0),
        counts=counts,
        seed=seed,
    )
    found = find_lattice(condition(drawn.image))
    assert same_lattice(found.reciprocal, np.linalg.inv(drawn.lattice.matrix)) < 0.03
    # Scatter by the counts, measured at 5 to 17 periods a side: 4.8 where `second` is least.
    periods = min(rows, columns) / constant
    scatter = 4.8 / (periods * np.sqrt(rows * columns * counts)) if counts else 0.0
    assert found.cell_area == pytest.approx(drawn.lattice.cell_area, rel=1e-3 + 5 * scatter)


@pytest.mark.parametrize("side", [256, 512])
def test_lattice_constant_of_a_clean_frame_is_exact(synthesis, side):
    drawn = synthesis.crystal((side, side), rotation=23.0)
    area = find_lattice(drawn.image).cell_area
    assert np.sqrt(area / drawn.lattice.cell_area) == pytest.approx(1.0, abs=2e-4)


def test_a_large_frame_is_searched_in_its_middle_and_refined_whole(synthesis):
    tile = synthesis.crystal((300, 2600), rotation=11.0, constant=12.0)
    area = find_lattice(tile.image.astype(np.float32)).cell_area
    assert np.sqrt(area / tile.lattice.cell_area) == pytest.approx(1.0, abs=2e-4)


def test_indexed_peaks_lie_on_the_lattice(tungsten_disulphide):
    found = find_lattice(condition(tungsten_disulphide.image))
    gap = found.peaks - found.indices @ found.reciprocal
    assert np.abs(gap[found.indexed]).max() * 256 < 1.2
    assert found.indexed[:6].all()
    assert (np.diff(found.significance) <= 0).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(-5, 5), st.integers(-5, 5), st.floats(0.0, 360.0), st.floats(-0.1, 0.1))
def test_reduction_undoes_any_change_of_basis(i, j, rotation, shear):
    angle = np.radians([rotation, rotation + 60.0])
    basis = np.stack([np.cos(angle), np.sin(angle)], 1) @ np.array([[1.0, shear], [0.0, 1.0]])
    other = np.array([[1, i], [0, 1]]) @ np.array([[1, 0], [j, 1]]) @ basis
    reduced = reduce_basis(other)
    assert same_lattice(reduced, basis) < 1e-9
    cosine = reduced[0] @ reduced[1] / np.prod(np.hypot(*reduced.T))
    assert 0.3 < cosine < 0.7
    assert np.linalg.det(reduced) > 0


def test_reduction_ends_where_choices_are_equally_short():
    # Rounding errors at exactly 60 degrees once swapped the equal choices for ever.
    for rotation in np.linspace(0.0, 360.0, 721):
        angle = np.radians([rotation, rotation + 60.0])
        basis = np.stack([np.cos(angle), np.sin(angle)], 1)
        for other in (basis, [[1, 1], [0, 1]] @ basis, [[1, 0], [-3, 1]] @ basis):
            assert np.hypot(*reduce_basis(other).T).max() == pytest.approx(1.0)


def noise(rng):
    return rng.normal(size=(128, 128))


def counting_noise(rng):
    return rng.poisson(2.0, (96, 160))


def gradient(rng):
    y, x = np.indices((128, 128))
    return rng.normal() * x + rng.normal() * y + rng.normal(0.0, 0.1, x.shape)


def noisy_lines(rng):
    return 3.0 * rng.normal(size=(128, 1)) + rng.normal(size=(128, 128))


def disc(rng):
    y, x = np.indices((128, 128))
    return np.hypot(x - 60, y - 70) < rng.uniform(10, 50)


def amorphous(rng):
    grain = rng.normal(size=(192, 192))
    return ndimage.gaussian_filter(grain, 2) - ndimage.gaussian_filter(grain, 4)


def fringes(rng):
    y, x = np.indices((128, 128))
    phase = rng.uniform(0.05, 0.12) * x + rng.uniform(0.05, 0.12) * y
    return np.sin(2 * np.pi * phase) + rng.normal(size=x.shape)


def square_lattice(rng):
    y, x = np.indices((128, 128))
    return np.sin(x / 2.0) + np.sin(y / 2.0) + rng.normal(size=x.shape)


@pytest.mark.parametrize(
    ("frame", "number"),
    [
        (noise, 700),
        (counting_noise, 300),
        (gradient, 50),
        (noisy_lines, 50),
        (disc, 30),
        (amorphous, 60),
        (fringes, 50),
        (square_lattice, 20),
    ],
)
def test_frames_without_a_lattice_are_told(frame, number):
    rng = np.random.default_rng(17)
    found = 0
    for _ in range(number):
        try:
            find_lattice(condition(frame(rng)))
        except NoLatticeError:
            continue
        found += 1
    assert found == 0


def test_the_error_names_cause_and_mend():
    rng = np.random.default_rng(3)
    with pytest.raises(NoLatticeError, match=r"Bragg peaks stand out.*raise the dose"):
        find_lattice(condition(noise(rng)))
    with pytest.raises(NoLatticeError, match="hexagonal lattice: check the focus"):
        find_lattice(condition(square_lattice(rng)))
