"""What classes are read as: evidence from the neighbours, and odd classes that must be unknown."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import View, detect, info, make_specimen

from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.tracker.column_evidence import less_tails
from latticewatch.tracker.interpretation import joint_readings
from latticewatch.tracker.species import UNKNOWN, host_heights, readings
from latticewatch.tracker.surroundings import ordered_means, surroundings
from latticewatch_models.crystal import crystal_named

WS2 = crystal_named("WS2")
TABLE = readings(WS2, host_heights(WS2, None), 0.1)
HOST = WS2.host_intensity(1)


def around(values, noise, site=0, n=4000, seed=0):
    """Surroundings of a class whose members have these three neighbours, and noise."""
    looks = np.asarray(values, float) + noise * np.random.default_rng(seed).normal(size=(n, 3))
    looks.sort(axis=1)
    return surroundings(TABLE, site, (n, looks.sum(axis=0), (looks**2).sum(axis=0)), 0.1)


def best(evidence):
    return max(evidence.posterior, key=evidence.posterior.get)


@pytest.mark.parametrize("noise", [0.002, 0.02, 0.05])
def test_ordered_means_are_those_of_drawn_numbers(noise):
    values = np.array([[HOST, HOST, HOST], [HOST / 2, HOST, HOST], [0.0, 0.0, 1.0]])
    drawn = values[:, None] + noise * np.random.default_rng(1).normal(size=(3, 400_000, 3))
    expected = np.sort(drawn, axis=2).mean(axis=1)
    np.testing.assert_allclose(ordered_means(values, noise), expected, atol=4e-3 * max(1, noise))


@pytest.mark.parametrize("noise", [0.005, 0.01, 0.02, 0.04])
def test_noise_alone_is_no_vacancy(noise):
    """The darkest of three equal columns lies 0.85 standard deviations low."""
    evidence = around([HOST] * 3, noise)
    assert evidence.intensity[0] < HOST - 0.8 * noise
    assert best(evidence) == "whole"


@pytest.mark.parametrize(
    ("values", "reading"),
    [
        ((HOST / 2, HOST, HOST), "VS"),
        ((0.0, HOST, HOST), "VS2"),
        ((HOST, HOST, HOST), "whole"),
        ((0.9 * HOST / 2, 0.9 * HOST, 0.9 * HOST), "VS"),  # under a dopant's tails
        ((0.0, 0.0, HOST), "hole_edge"),
        ((1.3, 1.3, 1.3), "unknown"),  # brighter than anything
        ((HOST, HOST, 0.6), "unknown"),
        ((-0.4, HOST, HOST), "unknown"),
    ],
)
def test_neighbours_are_read_where_the_noise_is_small(values, reading):
    evidence = around(values, 0.01)
    assert best(evidence) == reading
    assert evidence.posterior[reading] > 0.8
    assert sum(evidence.posterior.values()) == pytest.approx(1.0)
    assert evidence.sublattice == 1


def test_faint_evidence_stays_in_doubt():
    evidence = around((HOST / 2, HOST, HOST), 0.08)
    assert 0.2 < evidence.posterior["whole"] < 0.8
    assert surroundings(TABLE, 0, (0.4, np.zeros(3), np.zeros(3)), 0.1) is None


def test_a_vacancy_sees_metal_columns_and_tells_a_dopant_among_them():
    assert around((1.0, 1.0, 1.0), 0.05, site=1).sublattice == 0
    assert best(around((0.382, 1.0, 1.0), 0.05, site=1)) == "MoW"


def test_readings_of_a_class_join_both_kinds_of_evidence():
    def read(values, own):
        joint = joint_readings(own, around(values, 0.01), WS2)
        assert sum(joint.values()) == pytest.approx(sum(own.values()))
        return next(iter(joint))

    dopant, vacancy = {"MoW": 0.98, "unknown": 0.02}, {"VS": 1.0}
    assert read((HOST, HOST, HOST), dopant) == "MoW"
    assert read((HOST / 2, HOST, HOST), dopant) == "MoW+VS"
    assert read((0.0, HOST, HOST), dopant) == "MoW+VS2"
    assert read((0.0, 0.0, HOST), dopant) == "hole_edge"
    assert read((HOST, HOST, 0.9), dopant) == UNKNOWN
    assert read((HOST / 2, HOST, HOST), {"VW": 1.0}) == "VW"
    metal = joint_readings(vacancy, around((0.382, 1.0, 1.0), 0.05, site=1), WS2)
    assert next(iter(metal)) == "VS"
    assert joint_readings({"VS": 1.0}, None, WS2) == {"VS": 1.0}


def run(specimen, frames=14, classes=4, noise=0.01):
    """Apply frames; the tracker and the last table."""
    tracker = Tracker(TrackerSettings(classes=classes, warm_up=200), specimen.crystal)
    rng = np.random.default_rng(3)
    for frame in range(frames):
        update = tracker.apply(info(frame), detect(specimen, View(noise=noise), rng))
    return tracker.statistics()["classes"], update.table


def bound(seed=2):
    """Half of the dopants with a vacancy beside them, in all directions."""
    specimen = make_specimen(seed, counts=(20, 4, 8, 4))
    cells = [c for c, s in specimen.metal.items() if s == "MoW"][:12]
    for k, cell in enumerate(cells):
        i, j = ((0, 0), (-1, -1), (0, -1))[k % 3]
        specimen.vacancies.append((cell[0] + i, cell[1] + j))
    return specimen


def test_a_class_of_dopants_with_a_vacancy_is_named_and_its_evidence_published():
    told, table = run(bound(), classes=6)
    by_reading = {c["reading"]: c for c in told}
    assert {"MoW", "MoW+VS", "VW", "VS", "adatom"} <= set(by_reading)
    dark = by_reading["MoW+VS"]
    assert dark["species"] == "MoW"
    assert dark["readings"]["MoW+VS"] > 0.8
    # These columns have no tails that could be taken for more contrast.
    measured = float(less_tails(dark["expected_ratio"]["MoW"], 1.0))
    assert dark["ratio"] == pytest.approx(measured, abs=0.02)
    assert dark["ratio_low"] < dark["ratio"] < dark["ratio_high"]
    assert dark["measured_by"] == "members"
    assert dark["neighbours"]["intensity"][0] == pytest.approx(HOST / 2, abs=0.01)
    assert dark["neighbours"]["expected"]["VS"][0] == pytest.approx(HOST / 2, abs=0.01)
    # One class in three states, whichever way the vacancy lies.
    for k in range(3):
        chosen = table["class_id"][table["state"] == f"MoW+VS/{k}"]
        assert len(chosen) >= 3
        assert set(chosen.tolist()) == {dark["class_id"]}
    assert set(table["class_id"][table["state"] == "MoW"].tolist()) == {
        by_reading["MoW"]["class_id"]
    }
    vacancy = by_reading["VS"]
    assert vacancy["ratio"] == pytest.approx(0.5, abs=0.03)
    assert vacancy["expected_ratio"]["VS"] == pytest.approx(0.5)
    assert by_reading["adatom"]["ratio"] is None


#: What dopants of 0.68 are said to have: their contrast is taken to hold the probe's tails.
ODD = float(less_tails(0.68, 1.0))


class Odd(type(make_specimen())):
    """Dopants of an intensity that nothing has."""

    def intensity(self, cell, site):
        odd = site == 0 and self.metal.get(cell) == "MoW"
        return 0.68 if odd else super().intensity(cell, site)


def test_a_class_of_columns_that_nothing_explains_is_unknown():
    plain = make_specimen(5, counts=(20, 4, 12, 4))
    told, _ = run(Odd(plain.crystal, plain.metal, plain.vacancies, plain.adatoms))
    odd = next(c for c in told if c["intensity"] == pytest.approx(ODD, abs=0.01))
    assert odd["species"] == odd["reading"] == UNKNOWN
    assert odd["posterior"][UNKNOWN] > 0.5
    assert {c["reading"] for c in told if c is not odd} == {"VW", "VS", "adatom"}
