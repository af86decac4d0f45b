"""How many classes there are: by the settings, or by BIC with its table published."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture
from synthetic import View, detect, info, make_specimen

from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.tracker.mixture_start import warm_start


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_bic_finds_the_kinds_of_the_specimen_and_publishes_its_table(covariance):
    specimen = make_specimen(1, counts=(20, 10, 14, 10))
    options = TrackerSettings(classes="bic", most_classes=6, covariance=covariance, warm_up=600)
    tracker, rng = Tracker(options, specimen.crystal), np.random.default_rng(0)
    for frame in range(16):
        update = tracker.apply(info(frame), detect(specimen, View(noise=0.015), rng))
    told = tracker.statistics()
    choice = told["class_choice"]
    assert choice["chosen_by"] == "bic"
    assert list(choice["bic"]) == ["1", "2", "3", "4", "5", "6"]
    assert min(choice["bic"], key=choice["bic"].get) == "4"
    assert choice["numbers_left"] == 2
    assert {c["reading"] for c in told["classes"]} == {"MoW", "VW", "VS", "adatom"}
    assert len(set(update.table["class_id"].tolist())) == 4
    json.dumps(told, allow_nan=False)
    again = Tracker.restore(tracker.save(), options, specimen.crystal)
    assert again.statistics() == told


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_least_bic_is_where_scikit_learn_finds_it(kind):
    rng = np.random.default_rng(4)
    label = rng.integers(0, 3, 900)
    points = 5.0 * np.eye(3, 4)[label] + rng.normal(size=(900, 4))
    mine, oracle = [], []
    for k in range(1, 6):
        start = np.random.default_rng(0)
        fit = warm_start(points, k, start, 8, 1e-6, diagonal=kind == "diag")
        mine.append(fit.bic(points))
        peer = GaussianMixture(k, covariance_type=kind, n_init=3, random_state=0, max_iter=2000)
        oracle.append(peer.fit(points).bic(points))
    assert np.argmin(mine) == np.argmin(oracle) == 2
    np.testing.assert_allclose(mine[:3], oracle[:3], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": "aic"}, "give a number"),
        ({"classes": 0}, "at least 1"),
        ({"most_classes": 33}, "give 1 to 32"),
        ({"covariance": "tied"}, '"full" or "diagonal"'),
        ({"classes": "bic", "most_classes": 21, "warm_up": 200}, "ten detections a class"),
    ],
)
def test_settings_that_make_no_mixture_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrackerSettings(**options)


def test_a_fixed_number_has_room_even_where_no_class_may_split_off():
    assert TrackerSettings(classes=12, most_classes=8).room == 12
    assert TrackerSettings(classes=5, most_classes=8).room == 8
    assert TrackerSettings(classes="bic", most_classes=6).class_choices == (1, 2, 3, 4, 5, 6)
