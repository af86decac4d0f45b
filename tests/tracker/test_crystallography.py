"""Displacement fields and modes: batch oracles, gauge, three-fold symmetry, errors that hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from synthetic import View, detect, info, make_specimen

from latticewatch.analysis import Analyser
from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.tracker.anchor import TURN, Alignment
from latticewatch.tracker.crystallography import GROUPS, DisplacementSums
from latticewatch.tracker.displacement_modes import (
    covariances,
    jackknife,
    left_out,
    pooled,
    principal,
    state_fields,
    summary,
    turned_by,
)
from latticewatch.tracker.fusion import amounts_of, fuse
from latticewatch.tracker.site_filter import SiteFilter
from latticewatch_kernels.displacements import SEVEN_CELLS, Displacements
from latticewatch_kernels.lattice import NEIGHBOUR_CELLS
from latticewatch_models.crystal import crystal_named
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import Segmenter

WS2 = crystal_named("WS2")
ANGLES = np.radians(60.0 * np.arange(6))


def drawn(n, seed=0, tracks=40, noise=1.0):
    """Looks with two known modes, and the sums over them, folded in 10 at a time."""
    rng = np.random.default_rng(seed)
    modes = np.linalg.qr(rng.standard_normal((14, 2)))[0].T
    vectors = (rng.standard_normal((n, 2)) * [5.0, 3.0]) @ modes
    vectors = (vectors + noise * rng.standard_normal((n, 14))).reshape(n, 7, 2)
    vectors = (vectors - vectors.mean(axis=1, keepdims=True)).reshape(n, 14)
    state, track = rng.integers(0, 4, n), rng.integers(0, tracks, n)
    belief = np.eye(4)[state]
    spread = np.broadcast_to(noise**2 * np.eye(2), (n, 7, 2, 2))
    sums = DisplacementSums.empty(4)
    for start in range(0, n, 10):
        part = slice(start, start + 10)
        sums = sums.add(vectors[part], spread[part], state[part], belief[part], track[part])
    return vectors, state, track, sums


def test_sums_give_the_batch_moments_and_principal_components():
    vectors, state, track, sums = drawn(3000)
    part = pooled(sums, (0, 1, 2, 3), (0, 0, 0, 0))
    assert_allclose(part.total[0] / part.number[0], vectors.mean(axis=0), atol=1e-10)
    assert_allclose(covariances(part)[0], np.cov(vectors.T), atol=1e-9)
    batch = PCA(2).fit(vectors)
    values, modes = principal(covariances(part))
    assert_allclose(values[0], batch.explained_variance_, rtol=1e-9)
    assert_allclose(np.abs(np.sum(modes[0] * batch.components_, axis=1)), 1.0, atol=1e-9)
    left = track % GROUPS != 5
    assert_allclose(covariances(part)[6], np.cov(vectors[left].T), atol=1e-9)
    own = pooled(sums, (2,), (1,))
    turned = vectors[state == 2] @ turned_by(1).T
    assert_allclose(covariances(own)[0], np.cov(turned.T), atol=1e-9)


def test_noise_is_taken_off_the_modes_variances():
    _, _, _, sums = drawn(20_000, seed=3, noise=3.0)
    part = pooled(sums, (0, 1, 2, 3), (0, 0, 0, 0))
    values, _ = principal(covariances(part) - part.noise / part.number[:, None, None])
    # 25 and 9 before the mean of the columns was taken off, which only lowers them
    plain, _ = principal(covariances(part))
    assert plain[0, 1] > 10.0
    error = jackknife(values, part.share)
    true = drawn(20_000, seed=3, noise=0.0)[0]
    assert (np.abs(values[0] - PCA(2).fit(true).explained_variance_) < 4.0 * error + 0.2).all()


@given(st.integers(0, 2), st.integers(0, 2))
def test_turns_by_thirds_are_a_group_that_takes_neighbours_along(first, second):
    assert_allclose(
        turned_by(first) @ turned_by(second), turned_by((first + second) % 3), atol=1e-12
    )
    # outward displacements of one neighbour stay outward and go to another
    field = np.zeros((7, 2))
    field[1] = [1.0, 0.0]
    turned = (turned_by(first) @ field.ravel()).reshape(7, 2)
    place = 1 + (-2 * first) % 6
    expected = np.zeros((7, 2))
    expected[place] = [np.cos(ANGLES[place - 1]), np.sin(ANGLES[place - 1])]
    assert_allclose(turned, expected, atol=1e-12)


def test_many_looks_at_few_dopants_count_as_few():
    """40 dopants that differ by 2 pm each, every one seen 100 times; 200 sets."""
    held, told = 0, []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        own = 2.0 * rng.standard_normal((40, 14))
        track = np.repeat(np.arange(40), 100)
        vectors = own[track] + 0.5 * rng.standard_normal((4000, 14))
        values = left_out(
            np.stack([vectors[track % GROUPS == g].sum(axis=0) for g in range(GROUPS)])
        )
        number = left_out(np.bincount(track % GROUPS, minlength=GROUPS).astype(float))
        share = (number[0] - number[1:]) / number[0]
        mean = values / number[:, None]
        error = jackknife(mean, share)
        told.append(error.mean())
        held += np.mean(np.abs(mean[0]) < 2.131 * error)  # Student's t, 15 degrees of freedom
    assert np.mean(told) == pytest.approx(2.0 / np.sqrt(40), rel=0.1)
    assert 0.93 < held / 200 < 0.97


def test_beliefs_undo_what_wrong_labels_mix():
    rng = np.random.default_rng(5)
    n = 8000
    belief = rng.dirichlet(0.4 * np.ones(4), n)
    state = np.array([rng.choice(4, p=p) for p in belief])
    fields = np.zeros((4, 14))
    for k in range(3):
        angle = np.radians(90.0 + 120.0 * k)
        fields[k + 1, :2] = 10.0 * np.array([np.cos(angle), np.sin(angle)])
    vectors = fields[state] + 5.0 * rng.standard_normal((n, 14))
    noise = np.zeros((n, 7, 2, 2))
    sums = DisplacementSums.empty(4).add(
        vectors, noise, belief.argmax(axis=1), belief, rng.integers(0, 200, n)
    )
    found, share = state_fields(sums)
    error = jackknife(found, share)
    assert (np.abs(found[0] - fields) < 5.0 * error + 1e-9).all()
    values = summary(sums, WS2, 0.95)
    assert values["told"]["MoW+VS"]["toward_pm"]["value"] < 8.5
    believed = values["believed"]["MoW+VS"]["toward_pm"]
    assert believed["low"] < 10.0 < believed["high"]
    assert believed["error"] < 0.4


def bound_specimen():
    """Dopants alone and with a vacancy in each direction, and the directions."""
    specimen = make_specimen(seed=2, counts=(16, 2, 0, 0))
    dopants = [cell for cell, name in specimen.metal.items() if name == "MoW"]
    for k, cell in enumerate(dopants):
        if k % 2:
            step = NEIGHBOUR_CELLS[0][k // 2 % 3]
            specimen.vacancies.append((cell[0] + int(step[0]), cell[1] + int(step[1])))
    return specimen


def displaced(specimen, found, view, rng, scatter=0.0):
    """Pixels by which columns stand off: a dopant 10 pm toward its vacancy, a1's end 4 pm out."""
    angle = np.radians(view.angle_deg + np.array([0.0, 120.0]))
    session = view.constant * np.array([np.cos(angle), np.sin(angle)])
    gauge = np.linalg.matrix_power(TURN, view.turn)
    pixel = view.constant / 315.3
    shift = scatter * rng.standard_normal((len(found), 7, 2)) * pixel
    error = np.full((len(found), 7, 2), max(scatter, 0.01) * pixel)
    for row, (cell, site) in enumerate(zip(found.cells, found.sublattice, strict=True)):
        place = found.lattice.to_pixels(cell)
        start = np.array([view.shape[1], view.shape[0]]) / 2.0 + np.array(view.drift)
        true = tuple(int(v) for v in np.rint(np.linalg.solve(session, place - start)))
        state = specimen.state(true) if site == 0 and true in specimen.metal else ""
        if "+" in state:
            bond = session @ (NEIGHBOUR_CELLS[0][int(state[-1])] + [1 / 3, 2 / 3])
            shift[row, 0] += 10.0 * pixel * bond / np.hypot(*bond)
        for k, step in enumerate(SEVEN_CELLS[1:], start=1):
            if (gauge @ step == [1, 0]).all():
                shift[row, k] += 4.0 * pixel * session[:, 0] / view.constant
    return replace(found, displaced=Displacements(*(p.astype(np.float32) for p in (shift, error))))


def followed(frames=12, scatter=0.0):
    specimen, rng = bound_specimen(), np.random.default_rng(1)
    tracker = Tracker(TrackerSettings(warm_up=50), WS2)
    for t in range(frames):
        view = View(
            drift=(0.3 * t, -0.2 * t),
            turn=t % 3,
            angle_deg=10.0 + 0.5 * t,
            constant=10.5 + 0.05 * t,
        )
        found = detect(specimen, view, rng)
        tracker.apply(info(t), displaced(specimen, found, view, rng, scatter))
    return tracker


def test_drift_rotation_scale_and_gauge_leave_the_fields_as_they_are():
    told = followed().statistics()["crystallography"]["told"]
    bound, alone = told["MoW+VS"], told["MoW"]
    assert bound["looks"] >= 60
    # the seven's own mean is taken off: dopant and neighbours share 4 / 7 pm along a1
    assert alone["across_pm"]["value"] == pytest.approx(-4.0 / 6.0, abs=0.02)
    assert alone["toward_pm"]["value"] == pytest.approx(0.0, abs=0.02)
    assert alone["mean_pm"][1] == pytest.approx([4.0 - 4.0 / 7.0, 0.0], abs=0.02)
    assert bound["toward_pm"]["value"] == pytest.approx(10.0, abs=0.6)


def test_mean_images_show_the_vacancy_in_one_direction():
    images = followed(24).statistics()["crystallography"]["images"]
    row = 8 + round(16 / 2.0 / np.sqrt(3.0) - 0.5)  # direction 0 lies along +rows
    for name in ("MoW+VS", *WS2.states[1:]):
        image = np.array(images[name])
        dark = image[row - 1 : row + 2, 6:10].max()
        left = image[4:8, 1:6].max()
        assert dark < 0.7 * left, name
    turned = [np.array(images[name])[3:13, 3:13] for name in WS2.states[1:]]
    assert_allclose(turned[0], turned[1], atol=0.12)
    assert_allclose(turned[0], turned[2], atol=0.12)


def test_a_restored_tracker_goes_on_with_the_same_numbers_in_the_same_space():
    whole = followed(12, scatter=3.0)
    again = Tracker.restore(whole.save(), whole.settings, WS2)
    assert again.save() == whole.save()
    assert again.statistics() == whole.statistics()
    sizes = [
        sum(np.asarray(v).nbytes for v in vars(t._memory.displacements).values())
        for t in (followed(3), whole)
    ]
    assert sizes[0] == sizes[1]


def test_without_dopant_or_measurement_there_is_nothing_to_tell():
    assert (
        Tracker(TrackerSettings(), crystal_named("graphene")).statistics()["crystallography"]
        is None
    )
    empty = Tracker(TrackerSettings(), WS2).statistics()["crystallography"]
    assert empty["told"]["MoW"] == {"looks": 0, "groups": 0}
    assert empty["believed"] is None
    assert empty["images"]["MoW"] is None
    tracker, rng = Tracker(TrackerSettings(), WS2), np.random.default_rng(0)
    tracker.apply(info(0), detect(bound_specimen(), View(), rng))
    seen = tracker.statistics()["crystallography"]
    assert seen["told"]["MoW"]["looks"] == 0
    assert seen["images"]["MoW"] is not None


def test_a_frame_without_a_dopant_adds_nothing():
    sums = DisplacementSums.empty(4)
    none = np.zeros(0, int)
    noise = np.zeros((0, 7, 2, 2))
    assert sums.add(np.zeros((0, 14)), noise, none, np.zeros((0, 4)), none) is sums


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 15), min_size=1, max_size=30), st.integers(0, 99))
def test_columns_that_were_not_measured_leave_their_dopant_out(missing, seed):
    rng = np.random.default_rng(seed)
    specimen, view = bound_specimen(), View()
    found = displaced(specimen, detect(specimen, view, rng), view, rng)
    shift = found.displaced.shift.copy()
    for k, row in enumerate(missing):
        shift[row % len(shift), k % 7] = np.nan
    tracker = Tracker(TrackerSettings(), WS2)
    tracker.apply(info(0), replace(found, displaced=Displacements(shift, found.displaced.error)))
    sums = tracker._memory.displacements
    assert np.isfinite(sums.squares).all()
    whole = np.isfinite(shift).all(axis=(1, 2)) & (found.sublattice == 0)
    assert sums.number.sum() <= whole.sum()


def test_displacements_stay_with_their_detections_when_the_filter_reorders_them():
    frame = Microscope("WS2", (256, 256), seed=7).acquire()
    found = Analyser(segmenter=Segmenter(threads=1), crystal=WS2)(frame.image)
    own = Alignment(np.eye(2), np.zeros(2), 0, flipped=False)
    sites = SiteFilter.empty(len(amounts_of(WS2)))
    # a threshold so low that vacancies join in, and one so high that some go
    for threshold in (0.02, 0.9):
        _, merged, _ = fuse(sites, 0, found, own, WS2, threshold)
        assert len(merged) != len(found)
        assert len(merged.displaced.shift) == len(merged)
        rows = {tuple(c): k for k, c in enumerate(found.cells) if found.sublattice[k] == 0}
        metal = np.flatnonzero(merged.sublattice == 0)
        source = np.array([rows[tuple(c)] for c in merged.cells[metal]])
        assert np.isfinite(found.displaced.shift[source]).all(axis=(1, 2)).sum() > 5
        assert_array_equal(merged.displaced.shift[metal], found.displaced.shift[source])
        assert_array_equal(merged.displaced.error[metal], found.displaced.error[source])
        assert np.isnan(merged.displaced.shift[merged.sublattice != 0]).all()
