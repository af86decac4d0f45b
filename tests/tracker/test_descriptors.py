"""Principal components against scikit-learn's IncrementalPCA."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA, IncrementalPCA

from latticewatch.tracker.descriptors import MEASURED, describe, update_basis


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


def test_one_batch_is_plain_pca_and_the_residual_is_what_it_leaves():
    data = rows(1)
    oracle, basis = PCA(4).fit(data), update_basis(None, data, 4)
    assert basis.project(data).residual_share() == pytest.approx(
        1 - oracle.explained_variance_ratio_.sum(), abs=1e-10
    )
    assert basis.squares == pytest.approx(((data - data.mean(0)) ** 2).sum())


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
    np.testing.assert_array_equal(first, second)
