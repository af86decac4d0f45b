"""What a device tells of reported points is what the host tells."""

from __future__ import annotations

import numpy as np
import pytest

from latticewatch.analysis import _describe
from latticewatch.detections import PATCH_SIZE, PATCH_SPAN
from latticewatch.stopwatch import Stopwatch
from latticewatch_kernels.arrays import to_host
from latticewatch_kernels.column_fit import disc
from latticewatch_kernels.displacements import WINDOW
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.columns import _disc
from latticewatch_kernels.resident.description import described
from latticewatch_kernels.resident.facts import PLACE, Facts, Refusal
from latticewatch_kernels.resident.parts import FoundAbove
from latticewatch_kernels.resident.plan import Room
from latticewatch_models.microscope import Microscope

from .guarded import above
from .staged import Staged

SEED = 13


def staged_frame(kind: str) -> Staged:
    size = (192, 256) if kind == "oblong" else (256, 256)
    image = next(iter(Microscope("WS2", size, SEED).frames(1))).image
    if kind == "hole":
        y, x = np.ogrid[:256, :256]
        image = np.where((x - 190) ** 2 + (y - 70) ** 2 < 35**2, image.min(), image)
    return Staged.of(image)


def points_in(staged: Staged, number: int) -> np.ndarray:
    """Points about sites, the border and the hole's edge among them."""
    rng = np.random.default_rng(SEED)
    rows, columns = staged.image.shape
    return np.stack([rng.uniform(1, columns - 2, number), rng.uniform(1, rows - 2, number)], 1)


def run(double, staged: Staged, points: np.ndarray, values: np.ndarray | None = None):
    room = Room(found=len(points) + 5)
    plan, spare = staged.plan(room), np.zeros((5, 2))
    values = staged.values() if values is None else values
    if values[PLACE["refusal"]] == Refusal.NONE:
        values[PLACE["reported"]] = len(points)
    reported = FoundAbove(
        above(double, np.concatenate([points, spare])), above(double, np.zeros(room.found))
    )
    given = reported, staged.labels_above(double), staged.order_above(double)
    facts = above(double, values)
    described(*given, facts, plan, PATCH_SIZE, PATCH_SPAN)
    double.traffic.__init__()
    return described(*given, facts, plan, PATCH_SIZE, PATCH_SPAN), facts


@pytest.mark.parametrize("kind", ["plain", "oblong", "hole"])
def test_like_the_host(device_double, kind):
    staged, number = staged_frame(kind), 150
    points = points_in(staged, number)
    with np.errstate(all="ignore"):
        expected = _describe(staged.lattice, staged.labels, points, np.ones(number), Stopwatch())
    made, facts = run(device_double, staged, points)
    traffic = device_double.traffic
    assert (traffic.up, traffic.down, traffic.operations) == (0, 0, 8)
    below = type(made)(*(to_host(part) for part in made))
    assert not any(part[number:].any() for part in below[:6])
    found = type(made)(*(part[:number] for part in below))
    for name in ("cells", "sublattice", "turns", "in_hole"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    assert found.in_hole.any() == (kind == "hole")
    intensity = np.concatenate([expected.centre[:, None], expected.neighbours], axis=1)
    np.testing.assert_allclose(found.intensity, intensity, 0.0, 2e-5)
    patches = found.patches * staged.labels.columns.unit
    bound = 1e-5 * np.abs(expected.patches).max()
    np.testing.assert_allclose(patches, expected.patches, 0.0, bound)
    displaced = expected.displaced
    assert np.isfinite(displaced.shift).any(), f"seed {SEED} shows no column"
    np.testing.assert_allclose(found.shift, displaced.shift, 0.0, 1e-4)
    np.testing.assert_allclose(found.error, displaced.error, 1e-3)
    assert Facts(to_host(facts)).refusal is Refusal.NONE


def test_nothing_to_describe(device_double):
    made, _ = run(device_double, staged_frame("plain"), np.zeros((0, 2)))
    assert not any(to_host(part).any() for part in made[:6])
    assert np.isnan(to_host(made.shift)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e300, -1e300, 7.5])
def test_facts_that_mean_nothing_do_no_harm(device_double, value):
    staged = staged_frame("oblong")
    values = np.full(slots.NUMBER, value)
    values[PLACE["refusal"]] = Refusal.FEW_PEAKS
    with np.errstate(all="ignore"):
        run(device_double, staged, points_in(staged, 20), values)


@pytest.mark.parametrize("constant", [6.0, 10.46, 12.0, 18.3, 23.9])
def test_the_window_is_the_twins(constant):
    radius = WINDOW * constant / np.sqrt(3.0)
    theirs = disc(radius)
    np.testing.assert_array_equal(_disc(int((WINDOW * constant) ** 2 / 3.0)), theirs)
