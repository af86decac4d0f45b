"""Principal components against scikit-learn's IncrementalPCA."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2_contingency
from sklearn.decomposition import PCA, IncrementalPCA

from latticewatch.analysis import _describe
from latticewatch.stopwatch import Stopwatch
from latticewatch.tracker.descriptors import AROUND, MEASURED, describe, update_basis
from latticewatch.tracker.mixture_start import warm_start
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.labelling import label
from latticewatch_kernels.registration import register
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig


def rows(seed=0, n=600, p=40):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 5)) @ rng.normal(size=(5, p)) * 2 + rng.normal(size=(n, p)) + 3


def test_batches_give_what_incremental_pca_gives():
    data = rows()
    oracle, basis = IncrementalPCA(n_components=4), None
    for part in np.array_split(data, 6):
        oracle.partial_fit(part)
        basis = update_basis(basis, part, 4)
    np.testing.assert_allclose(basis.mean, oracle.mean_, atol=1e-10)
    np.testing.assert_allclose(basis.singular, oracle.singular_values_, rtol=1e-9)
    sign = np.sign((basis.components * oracle.components_).sum(axis=1))
    np.testing.assert_allclose(basis.components * sign[:, None], oracle.components_, atol=1e-8)


def test_a_frame_without_defects_has_none_in_the_basis():
    basis = update_basis(None, rows(), 4)
    assert basis.project(np.zeros((0, 8, 5))).scores.shape == (0, 4)


def test_one_batch_is_plain_pca_and_the_residual_is_what_it_leaves():
    data = rows(1)
    oracle, basis = PCA(4).fit(data), update_basis(None, data, 4)
    assert basis.residual_share(data, basis.project(data)) == pytest.approx(
        1 - oracle.explained_variance_ratio_.sum(), abs=1e-10
    )
    assert basis.squares == pytest.approx(((data - data.mean(0)) ** 2).sum())


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_patches_are_described_to_the_accuracy_of_their_own_type(kind):
    data = rows(3, 600, 256).astype(kind)
    oracle = PCA(4).fit(data.astype(float))
    basis = update_basis(None, data, 4)
    found = basis.project(data.reshape(600, 16, 16))
    sign = np.sign((basis.components * oracle.components_).sum(axis=1))
    scores = oracle.transform(data.astype(float)) * sign
    # A few times the type's own step, for a patch as long as the longest.
    step, length = 8 * float(np.finfo(kind).eps), float((data**2).sum(axis=1).max())
    np.testing.assert_allclose(found.scores, scores, atol=step * np.sqrt(length))
    deviation = ((data.astype(float) - data.astype(float).mean(axis=0)) ** 2).sum(axis=1)
    chosen = np.arange(0, 600, 7)
    part = 1 - (scores[chosen] ** 2).sum() / deviation[chosen].sum()
    left = basis.residual_share(data[chosen], found.take(chosen))
    assert left == pytest.approx(part, abs=8 * step)


def test_descriptor_does_not_depend_on_the_order_of_neighbours():
    rng = np.random.default_rng(2)
    patches = rng.normal(size=(30, 16, 16))
    basis = update_basis(None, patches.reshape(30, -1), 3)
    centre, around = rng.random(30), rng.random((30, 3))
    site = rng.integers(0, 3, 30)
    scores = basis.project(patches).scores
    first = describe(centre, around, site, scores)
    second = describe(centre, np.roll(around, 1, axis=1), site, scores)
    assert first.shape == (30, MEASURED + 3)
    np.testing.assert_array_equal(first[:, AROUND], np.sort(around, axis=1))
    np.testing.assert_array_equal(first, second)


@pytest.fixture(scope="module")
def frames():
    """Dopants of simulated frames at a high dose: labels, lattice, places and true states."""
    seen = []
    for seed, rotation in enumerate((0.0, 17.0, 41.0, 55.0)):
        movie = Microscope(
            "WS2",
            (512, 512),
            seed=seed,
            specimen=SpecimenConfig(dopant_fraction=0.06, bound_share=0.6),
            imaging=ImagingConfig(dose_e_per_pixel=16000.0, rotation_deg=rotation),
        )
        frame = movie.acquire()
        image = condition(frame.image)
        lattice, truth = register(image), frame.truth
        chosen = np.flatnonzero(truth.species == "MoW")
        points = np.stack([truth.x_px, truth.y_px], 1)[chosen]
        seen.append((label(image, lattice), lattice, points, truth.state[chosen]))
    return seen


def described(labels, lattice, points):
    found = _describe(lattice, labels, points, np.ones(len(points)), Stopwatch())
    return found.centre, found.neighbours, found.sublattice, found.patches


def in_basis(basis, centre, neighbours, sublattice, patches):
    return describe(centre, neighbours, sublattice, basis.project(patches).scores)


def test_a_lattice_turned_by_120_degrees_changes_no_descriptor(frames):
    """The same defect, its vacancy in another direction of the gauge: one class, another state."""
    labels, lattice, points, _ = frames[1]
    first = described(labels, lattice, points)
    basis = update_basis(None, first[3].reshape(len(points), -1), 4)
    for _ in range(2):
        a1, a2 = np.array(lattice.a1), np.array(lattice.a2)
        lattice = replace(lattice, a1=tuple(a2), a2=tuple(-a1 - a2))
        other = described(labels, lattice, points)
        assert (first[1].argmin(axis=1) != other[1].argmin(axis=1)).mean() > 0.9
        np.testing.assert_allclose(in_basis(basis, *other), in_basis(basis, *first), atol=2e-3)


def test_classes_of_dopants_are_the_same_whichever_way_their_vacancy_lies(frames):
    samples = [described(*frame[:3]) for frame in frames]
    sample = [np.concatenate(parts) for parts in zip(*samples, strict=True)]
    state = np.concatenate([frame[3] for frame in frames])
    basis = update_basis(None, sample[3].reshape(len(state), -1), 4)
    points = in_basis(basis, *sample)
    mixture = warm_start(points, 3, np.random.default_rng(0), 8, 1e-3)
    found = mixture.responsibilities(points)[0].argmax(axis=1)
    counts = np.array([np.bincount(found[state == f"MoW+VS/{k}"], minlength=3) for k in range(3)])
    assert (counts.sum(axis=1) > 100).all()
    assert chi2_contingency(counts[:, counts.sum(axis=0) > 0]).pvalue > 0.01
