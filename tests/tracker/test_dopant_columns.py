"""Dopant states from judged columns: the arithmetic, and what a tracker makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.testing import assert_allclose

from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.tracker.dopants import Columns, column_likelihood, neighbour_sites
from latticewatch.tracker.site_grid import SiteGrid
from latticewatch.vacancies import Vacancies
from latticewatch_models.crystal import CRYSTALS

from .synthetic import Specimen, View, detect, info

WS2 = CRYSTALS["WS2"]


def test_a_vacancy_is_one_atom_or_seldom_more() -> None:
    ratio = np.array([[1.0, -2.0], [-3.0, 4.0]])
    dopant = np.array([[7, -3]])
    columns = Columns(SiteGrid.of(neighbour_sites(dopant)[0, 1:], 1, 1), ratio)
    expected = (np.exp(ratio[:, 0]) + 0.1 * np.exp(ratio[:, 1])) / 1.1
    found = columns.likelihood(dopant)
    assert_allclose(found / found[:, :1], [[1.0, 1.0, *expected]])
    assert_allclose(columns.likelihood(dopant + 900), 1.0)
    none = Columns(SiteGrid.of(np.zeros((0, 2), int), 1, 1), np.zeros((0, 2)))
    assert_allclose(none.likelihood(dopant), 1.0)


def test_likelihoods_are_those_of_the_columns() -> None:
    vacant = np.array([[0.0, 0.0, 0.0], [2.0, -1.0, -800.0]])
    shares = column_likelihood(vacant.T[None], (1.0,))
    assert_allclose(shares[0], 1.0)
    assert_allclose(shares[1] / shares[1, 0], np.exp([0.0, 2.0, -1.0, -800.0]))


def test_states_follow_the_judged_columns_though_intensities_say_otherwise() -> None:
    """Neighbours as measured are undisturbed; the columns, judged, say where the vacancy is."""
    cells = [(0, 0), (4, 0), (0, 4), (-4, -4)]
    specimen = Specimen(WS2, metal=dict.fromkeys(cells, "MoW"))
    states = dict(zip(cells, (0, 1, 2, 3), strict=True))
    tracker = Tracker(TrackerSettings(), WS2)
    for frame in range(6):
        rng = np.random.default_rng(frame)
        seen = detect(specimen, View(noise=0.005), rng)
        around = neighbour_sites(np.array(cells))
        vacant = np.array([[k + 1 == states[cell] for k in range(3)] for cell in cells])
        value = rng.standard_normal(vacant.size) - 2.5 * vacant.ravel()
        amounts = 2.5 * np.array([1.0, 2.0, 0.5])
        ratio = -(value[:, None] + 0.5 * amounts) * amounts
        judged = around.reshape(-1, 2)
        columns = Vacancies(
            judged, seen.lattice.site_positions(judged, np.ones(len(judged), int)),
            np.zeros(len(judged)), np.zeros(len(judged), bool), np.array([0.01, 0.001]),
            np.full(len(judged), 0.15), ratio[:, :2], ratio[:, 2],
        )  # fmt: skip
        table = tracker.apply(info(frame), replace(seen, vacancies=columns)).table
    found = {
        (int(i), int(j)): WS2.states.index(str(state))
        for i, j, state in zip(table["site_i"], table["site_j"], table["state"], strict=True)
        if str(state)
    }
    assert found == states
