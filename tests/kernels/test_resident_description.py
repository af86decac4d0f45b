"""What a device tells of reported points is what the host tells."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.analysis import _describe
from latticewatch.detections import PATCH_SIZE, PATCH_SPAN, Detections
from latticewatch.stopwatch import Stopwatch
from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.column_fit import disc
from latticewatch_kernels.displacements import WINDOW
from latticewatch_kernels.noise import NOISE_CLASSES, fit_noise_line
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.columns import _disc, _noise
from latticewatch_kernels.resident.description import described
from latticewatch_kernels.resident.facts import PLACE, Facts, Refusal
from latticewatch_kernels.resident.parts import DescribedAbove, FoundAbove
from latticewatch_kernels.resident.plan import Room
from latticewatch_models.microscope import Microscope

from .guarded import above, drawn, fenced, seeds
from .staged import Staged

SEED = 13

#: What facts may hold of a frame that was refused.
GARBAGE = [np.nan, np.inf, -np.inf, 0.0, 1e300, -1e300, 7.5, -3.0]

#: Shapes of frames, and the radius of the hole in them. In the small ones the reference columns are
#: closer than the crystal's, so that some are taken twice.
FRAMES = {
    "plain": ((256, 256), 0.0),
    "oblong": ((192, 256), 0.0),
    "hole": ((256, 256), 36.0),
    "small": ((72, 80), 0.0),
    "small hole": ((80, 72), 16.0),
}


@lru_cache(maxsize=len(FRAMES))
def staged_frame(kind: str) -> Staged:
    size, radius = FRAMES[kind]
    image = next(iter(Microscope("WS2", size, SEED).frames(1))).image
    y, x = np.ogrid[: size[0], : size[1]]
    inside = (x - 0.74 * size[1]) ** 2 + (y - 0.27 * size[0]) ** 2 < radius**2
    return Staged.of(np.where(inside, image.min(), image))


def points_in(staged: Staged, number: int, seed: int = SEED) -> np.ndarray:
    """Points all over the frame up to its edge, and a little beyond."""
    rng = np.random.default_rng(seed)
    rows, columns = staged.image.shape
    return rng.uniform(-2.0, (columns + 1.0, rows + 1.0), (number, 2))


def run(
    double,
    staged: Staged,
    points: np.ndarray,
    values: np.ndarray | None = None,
    spare: int = 5,
    radius: int = 1,
) -> tuple[DescribedAbove, np.ndarray]:
    """What is told of points, and the facts afterwards; memory is fenced and nothing waited for."""
    room = Room(found=len(points) + spare, radius=radius)
    plan = staged.plan(room)
    values = staged.values() if values is None else values
    if values[PLACE["refusal"]] == Refusal.NONE:
        values[PLACE["reported"]] = len(points)
    every = np.concatenate([points, np.full((spare, 2), np.nan)])
    reported = FoundAbove(above(double, every), above(double, np.zeros(room.found)))
    given = reported, staged.labels_above(double), staged.order_above(double)
    facts = above(double, values)
    double.traffic.__init__()
    with fenced(double), np.errstate(all="ignore"):
        made = described(*given, facts, plan, PATCH_SIZE, PATCH_SPAN)
    assert (double.traffic.down, double.traffic.operations) == (0, 8)
    made = DescribedAbove(*(to_host(part) for part in made))
    assert not any(part[len(points) :].any() for part in made[:6])
    assert all(np.isnan(part[len(points) :]).all() for part in made[6:])
    return DescribedAbove(*(part[: len(points)] for part in made)), to_host(facts)


def told(staged: Staged, points: np.ndarray) -> Detections:
    with np.errstate(all="ignore"):
        probability = np.ones(len(points))
        return _describe(staged.lattice, staged.labels, points, probability, Stopwatch())


def alike(found: DescribedAbove, expected: Detections, of_error: float = 1e-5) -> None:
    for name in ("cells", "sublattice", "turns", "in_hole"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    intensity = np.concatenate([expected.centre[:, None], expected.neighbours], axis=1)
    np.testing.assert_allclose(found.intensity, intensity, 0.0, 2e-5)
    bound = 2e-5 * np.abs(expected.patches).max()
    np.testing.assert_allclose(found.patches, expected.patches, 0.0, bound)
    displaced = expected.displaced
    np.testing.assert_allclose(found.shift, displaced.shift, 0.0, 1e-5)
    np.testing.assert_allclose(found.error, displaced.error, of_error)


@pytest.mark.parametrize("kind", FRAMES)
def test_like_the_host(device_double, kind):
    staged = staged_frame(kind)
    points = points_in(staged, 200)
    expected = told(staged, points)
    found, facts = run(device_double, staged, points)
    alike(found, expected)
    assert found.in_hole.any() == (FRAMES[kind][1] > 0.0)
    assert set(found.sublattice) == {0, 1, 2}
    assert set(found.turns) == {0, 1, 2}
    measured = np.isfinite(expected.displaced.shift).all(axis=2)
    assert measured.any(), f"seed {SEED} shows no column"
    assert not measured[found.sublattice == 0].all(), f"seed {SEED} has no column at the border"
    assert Facts(facts).refusal is Refusal.NONE


def test_tables_are_kept(device_double):
    staged = staged_frame("oblong")
    for _ in range(2):
        run(device_double, staged, points_in(staged, 10))
    assert device_double.traffic.up == 0


@drawn
@given(st.sampled_from(["small", "small hole"]), seeds, st.integers(1, 12))
def test_any_points(device_double, kind, seed, number):
    staged = staged_frame(kind)
    points = points_in(staged, number, seed)
    found, _ = run(device_double, staged, points)
    alike(found, told(staged, points))


def test_points_beside_and_in_a_hole(device_double):
    """On a line across it."""
    staged = staged_frame("hole")
    points = np.stack([np.linspace(120.0, 255.0, 271), np.full(271, 0.27 * 256)], axis=1)
    expected = told(staged, points)
    found, _ = run(device_double, staged, points)
    alike(found, expected)
    assert 36.0 < 0.5 * found.in_hole.sum() < 100.0, "half a pixel a point"


@drawn
@given(seeds, st.floats(0.01, 0.3), st.sampled_from([0.0, 1.0, 1.5, 2.0, 5.0**0.5, 3.1]))
def test_any_hole(device_double, seed, part, cells):
    """Of any shape, within as many cells of a point, which may be met exactly."""
    staged, rng = staged_frame("small"), np.random.default_rng(seed)
    hole, points = rng.random(staged.order.hole.shape) < part, points_in(staged, 20, seed)
    order, reach = replace(staged.order, hole=hole), cells * staged.order.stride
    changed = replace(staged, order=order, facts=staged.facts | {"holes": hole.sum()})
    values = changed.values()
    values[PLACE["constant"]] = reach
    found, _ = run(device_double, changed, points, values)
    np.testing.assert_array_equal(found.in_hole, order.near_hole(points, reach))


def test_columns_that_run_into_each_other(device_double):
    """The wider they are the more the sites around count."""
    staged = staged_frame("small")
    points, columns = points_in(staged, 60), replace(staged.labels.columns, crosstalk=0.2)
    labels, facts = replace(staged.labels, columns=columns), staged.facts | {"crosstalk": 0.2}
    staged = replace(staged, labels=labels, facts=facts)
    found, _ = run(device_double, staged, points)
    alike(found, told(staged, points))


def changed(staged: Staged, residual: np.ndarray, wider: float = 1.0) -> Staged:
    """The same with another residual, and with wider columns."""
    sigma = wider * staged.labels.columns.sigma
    columns = replace(staged.labels.columns, sigma=sigma)
    labels = replace(staged.labels, residual=residual.astype(np.float32), columns=columns)
    return replace(staged, labels=labels, facts=staged.facts | {"sigma": sigma})


@pytest.mark.parametrize(("strength", "wider"), [(-12.0, 1.0), (12.0, 1.0), (-12.0, 1.6)])
def test_columns_that_are_hard_to_tell(device_double, strength, wider):
    """Far too much noise: some are told to be missing or too far off, some steps are too long."""
    staged, points = staged_frame("plain"), points_in(staged_frame("plain"), 200)
    staged = changed(staged, strength * staged.labels.residual, wider)
    expected = told(staged, points)
    inside = (np.abs(points - 127.5) < 100.0).all(axis=1) & (expected.sublattice == 0)
    lost = np.isnan(expected.displaced.shift[inside, :, 0])
    assert lost.any() != lost.all(), f"seed {SEED}"
    found, _ = run(device_double, staged, points)
    alike(found, expected, of_error=3e-5)


def test_noise_that_moves_no_column(device_double):
    """It alternates from pixel to pixel: errors are not believed to be as small as columns show."""
    staged, points = staged_frame("plain"), points_in(staged_frame("plain"), 60)
    y, x = np.indices(staged.image.shape)
    staged = changed(staged, 0.05 * (-1.0) ** (x + y))
    found, _ = run(device_double, staged, points)
    alike(found, told(staged, points))


def test_faint_columns_without_noise(device_double):
    """Nothing but their height tells that they are missing."""
    staged, points = staged_frame("plain"), points_in(staged_frame("plain"), 60)
    seen = told(staged, points)
    metal = (seen.sublattice == 0) & np.isfinite(seen.displaced.shift[:, 0, 0])
    y, x = np.indices(staged.image.shape)
    residual = np.zeros(staged.image.shape)
    for k, place in enumerate(points[metal]):
        near = np.hypot(x - place[0], y - place[1]) < 8.0
        above_lowest = staged.labels.periodic[near] - staged.labels.periodic[near].min()
        residual[near] = -(0.8, 0.88)[k % 2] * above_lowest
    staged = changed(staged, residual)
    expected = told(staged, points)
    missing = np.isnan(expected.displaced.shift[metal, 0, 0])
    assert missing.any() != missing.all(), f"seed {SEED}"
    found, _ = run(device_double, staged, points)
    alike(found, expected)


@drawn
@given(seeds, st.integers(8, 400), st.integers(1, 3), st.floats(0.0, 0.9))
def test_any_reference_pixels(device_double, seed, number, times, left_out):
    """Pixels that are taken several times are as bright as each other, and count every time."""
    rng = np.random.default_rng(seed)
    level = np.tile(rng.normal(0.4, 0.3, number).astype(np.float32), times)
    residual = np.tile(rng.normal(0.0, 0.1, number).astype(np.float32), times)
    residual *= 1.0 + np.abs(level)
    out = rng.random(number * times) < left_out
    out[:NOISE_CLASSES] = False
    given_up = residual, level, out.astype(np.int8)
    with fenced(device_double):
        levels, line = _noise(*(above(device_double, part) for part in given_up))
    expected = fit_noise_line(residual[~out], level[~out])
    assert np.isfinite(to_host(levels)).all()
    np.testing.assert_allclose(
        to_host(line), (expected.slope, expected.base, expected.least), 1e-9, 1e-12
    )


def test_without_reference_columns(device_double):
    """Where all of them lie in a hole noise is taken to be least, and errors are as counted."""
    staged = staged_frame("plain")
    hole, points = np.ones((256, 256), bool), points_in(staged, 60)
    metal = points[told(staged, points).sublattice == 0]
    x, y = np.rint(metal[(np.abs(metal - 128.0) < 100.0).all(axis=1)][0]).astype(int)
    hole[y - 8 : y + 9, x - 8 : x + 9] = False
    staged = replace(staged, labels=replace(staged.labels, hole=hole))
    expected = told(staged, points)
    assert np.isfinite(expected.displaced.shift).any(), f"seed {SEED} leaves no column"
    found, _ = run(device_double, staged, points)
    alike(found, expected)


def test_nothing_to_describe(device_double):
    run(device_double, staged_frame("plain"), np.zeros((0, 2)))


def test_room_changes_nothing(device_double):
    staged = staged_frame("oblong")
    points = points_in(staged, 40)
    found, _ = run(device_double, staged, points)
    roomy, _ = run(device_double, staged, points, spare=70, radius=61)
    for ours, theirs in zip(roomy, found, strict=True):
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("value", GARBAGE)
def test_facts_that_mean_nothing_do_no_harm(device_double, value):
    staged = staged_frame("small hole")
    values = np.full(slots.NUMBER, value)
    values[PLACE["refusal"]], values[PLACE["reported"]] = Refusal.FEW_PEAKS, 20
    run(device_double, staged, points_in(staged, 20), values)


@pytest.mark.parametrize(
    "name", ["vectors", "origin", "constant", "sigma", "unit", "crosstalk", "host", "holes"]
)
def test_one_fact_that_means_nothing_does_no_harm(device_double, name):
    staged = staged_frame("small hole")
    for value in GARBAGE:
        values = staged.values()
        values[PLACE[name]] = value
        run(device_double, staged, points_in(staged, 20), values)


def test_places_that_mean_nothing_do_no_harm(device_double):
    staged = staged_frame("small hole")
    points = np.array([(x, y) for x in GARBAGE for y in (30.0, *GARBAGE)])
    run(device_double, staged, points)


@pytest.mark.parametrize("constant", [6.0, 10.46, 12.0, 18.3, 23.9])
def test_the_window_is_the_twins(constant):
    radius = WINDOW * constant / np.sqrt(3.0)
    theirs = {tuple(pixel) for pixel in disc(radius)}
    ours = [tuple(pixel) for pixel in _disc(2 * int(radius**2) + 3)]
    assert len(set(ours)) == len(ours) > len(theirs)
    assert set(ours[: len(theirs)]) == theirs, "the nearest come first"
