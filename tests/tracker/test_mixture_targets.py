"""The mixture after 20,000 descriptors of the tracker's own kind, beside scikit-learn's fits."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from synthetic import View, make_specimen, measure

from latticewatch.tracker.descriptors import describe, update_basis

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from estimating.mixture import Scene, compare, online

NOISE, TRAIN = 0.012, 20_000


@pytest.fixture(scope="module")
def defects():
    """26,000 looks at MoW, MoW+VS in three orientations, VW, VS and adatoms, and their kinds."""
    specimen = make_specimen(2, counts=(20, 6, 10, 6))
    dopants = [c for c, s in specimen.metal.items() if s == "MoW"][:10]
    lone = list(specimen.vacancies)
    for k, cell in enumerate(dopants):
        i, j = ((0, 0), (-1, -1), (0, -1))[k % 3]
        specimen.vacancies.append((cell[0] + i, cell[1] + j))
    places = [(c, 0) for c in specimen.metal] + [(c, 1) for c in lone]
    places += [(c, 2) for c in specimen.adatoms]
    kinds = [
        specimen.state(c).split("/")[0] if s == "MoW" else s for c, s in specimen.metal.items()
    ]
    kinds += ["VS"] * len(lone) + ["adatom"] * len(specimen.adatoms)
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(places), 26_000)
    cells = np.array([places[i][0] for i in chosen])
    site = np.array([places[i][1] for i in chosen])
    centre, neighbours, patches, _ = measure(specimen, cells, site, View(noise=NOISE), rng)
    basis = update_basis(None, patches[:200].reshape(200, -1), 4)
    points = describe(centre, neighbours, site, basis.project(patches).scores)
    return Scene(points, NOISE**2), np.array(kinds)[chosen]


def test_likelihood_and_labels_are_those_of_the_batch_fit(defects):
    scene, _ = defects
    row = compare(scene, 5, TRAIN, starts=4)
    assert abs(row.excess()) < 0.005, row
    assert row.rand >= 0.98, row


def test_labels_are_the_kinds_and_one_class_holds_all_three_orientations(defects):
    scene, kinds = defects
    held = scene.points[TRAIN:]
    found = online(scene.points[:TRAIN], 5, scene.floor).responsibilities(held)[0].argmax(axis=1)
    assert set(kinds) == {"MoW", "MoW+VS", "VW", "VS", "adatom"}
    assert adjusted_rand_score(kinds[TRAIN:], found) >= 0.98
