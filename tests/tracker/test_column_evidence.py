"""A class's column intensity by later looks, which the noise of its members did not choose."""

from __future__ import annotations

import sys
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch.tracker import codec
from latticewatch.tracker.column_evidence import TAILS, ColumnEvidence, less_tails
from latticewatch.tracker.column_ratio import (
    LATER_LOOKS,
    LEAST_LOOKS,
    MEMBERS,
    of_looks,
    of_members,
)
from latticewatch.tracker.looks import GROUPS, Looks, group_of
from latticewatch.tracker.samples import Sample
from latticewatch_models.crystal import crystal_named

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from estimating import ratios

#: What WS2's chalcogen columns may lack, and a column's noise at 1,600 electrons a pixel over the
#: host: of an empty column and of the host's own.
AMOUNTS, NOISE = (0.5, 1.0), (0.17, 0.25)
HOST, REPEAT = 0.148, 0.25
K = len(AMOUNTS)
WS2 = crystal_named("WS2")
#: Noise of a column in host columns of sublattice 0, by sublattice, at 1,600 electrons a pixel.
COLUMN_NOISE = np.array([0.078, 0.039, 0.027])


def spread(ratio):
    """Noise of columns that have so much of the host's intensity."""
    return np.sqrt(NOISE[0] ** 2 + (NOISE[1] ** 2 - NOISE[0] ** 2) * np.clip(ratio, 0, 1))


def draw(rng, ratio, foretold=0.85, right=0.8, sites=60, looks=8, amount=0, shared=0.0):
    """Draw looks at vacancies of some intensity: class, site, measured ratio, what is foretold.

    Of those foretold `right` are still there; `shared` is the noise that stays with a site.
    """
    site = np.repeat(4 * rng.choice(100_000, sites, replace=False), looks)
    there = rng.random(len(site)) < right
    true = np.where(there, ratio, 1.0)
    stays = np.repeat(shared * rng.standard_normal(sites), looks)
    measured = true + spread(true) * rng.standard_normal(len(site)) + stays
    prior = np.zeros((K + 1, len(site)))
    prior[amount], prior[K] = foretold, 0.01
    return np.zeros(len(site), int), site, measured, prior


def evidence(looks, room=2):
    number, site, measured, prior = looks
    return ColumnEvidence.empty(room, WS2).with_later(number, site, measured, NOISE, prior, AMOUNTS)


def by_looks(sums, host):
    """Measure class 0 by later looks."""
    return of_looks(sums.later, 0, host, REPEAT, LATER_LOOKS)


@pytest.mark.parametrize("ratio", [0.5, 0.3, 0.65])
@pytest.mark.parametrize(("foretold", "right"), [(0.85, 0.85), (0.92, 0.7), (0.99, 1.0)])
def test_the_intensity_is_found_whatever_is_expected_and_however_well_foretold(
    ratio, foretold, right
):
    """Expected is 0.5, and the members' own mean would be the mean below a threshold."""
    rng, found, inside = np.random.default_rng(int(100 * ratio)), [], 0
    for _ in range(20):
        one = by_looks(evidence(draw(rng, ratio, foretold, right)), HOST)
        found.append(one.value / HOST)
        inside += abs(one.value - ratio * HOST) <= one.half_width(HOST, 0.95)
        assert one.by == LATER_LOOKS
    assert np.mean(found) == pytest.approx(ratio, abs=0.025), found
    assert inside >= 17, (ratio, found)


def test_the_scatter_from_site_to_site_is_in_the_error():
    """Contamination stays with a site: looks at it are no independent ones."""
    rng = np.random.default_rng(4)
    ones = [by_looks(evidence(draw(rng, 0.5, shared=0.2)), 1.0) for _ in range(40)]
    values, errors = np.array([(one.value, one.error) for one in ones]).T
    assert np.mean(errors) == pytest.approx(values.std(), rel=0.35)
    assert values.std() > 1.5 * spread(0.5) / np.sqrt(0.8 * 480)


def test_a_pair_of_vacancies_among_singles_is_told_apart():
    rng = np.random.default_rng(5)
    singles, pairs = draw(rng, 0.5), draw(rng, 0.0, amount=1, sites=12)
    mixed = [np.concatenate(parts, axis=-1) for parts in zip(singles, pairs, strict=True)]
    both = by_looks(evidence(mixed), HOST)
    assert both.value / HOST == pytest.approx(0.5, abs=0.04)
    assert both.held[1] == pytest.approx(1 / 6, abs=0.04)
    alone = by_looks(evidence(pairs), HOST)
    assert alone.value / HOST == pytest.approx(0.0, abs=0.04)


def test_what_is_bright_does_not_forbid_every_intensity():
    rng = np.random.default_rng(6)
    looks = draw(rng, 0.5)
    looks[2][::12] = 7.0
    assert by_looks(evidence(looks), HOST).value / HOST == pytest.approx(0.5, abs=0.05)


def test_few_looks_tell_nothing_and_few_sites_a_wide_interval():
    rng = np.random.default_rng(7)
    few = draw(rng, 0.5, sites=2, looks=5)
    assert few[3][0].sum() < LEAST_LOOKS
    assert by_looks(evidence(few), HOST) is None
    assert by_looks(ColumnEvidence.empty(2, WS2), HOST) is None
    # One site, and as many on different sites.
    one = by_looks(evidence(draw(rng, 0.5, sites=1, looks=200)), HOST)
    many = by_looks(evidence(draw(rng, 0.5, sites=200, looks=1)), HOST)
    assert one.error > 3 * many.error


def arrays(sums):
    looks = [getattr(part, f.name) for part in (sums.own, sums.later) for f in fields(Looks)]
    return [sums.weight, sums.centre, *looks]


def same(a, b):
    for one, other in zip(arrays(a), arrays(b), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 64), max_size=6))
def test_frame_by_frame_is_the_same_as_all_at_once_and_a_merge_as_one_class(seed, cuts):
    rng = np.random.default_rng(seed)
    _, site, measured, prior = draw(rng, 0.5, sites=8, looks=8)
    number = rng.integers(0, 2, len(site))
    sublattice, r = rng.integers(0, 3, len(site)), rng.dirichlet([1.0, 1.0], len(site)).T
    blank = np.zeros((len(site), 3), np.float32)
    sample = Sample(measured.astype(np.float32), blank, sublattice, blank, site)

    def summed(number, r, cuts=()):
        total = ColumnEvidence.empty(2, WS2)
        for part in np.split(np.arange(len(site)), sorted(cuts)):
            total = total.with_members(r[:, part], sample.take(part), COLUMN_NOISE, WS2).with_later(
                number[part], site[part], measured[part], NOISE, prior[:, part], AMOUNTS
            )
        return total

    whole = summed(number, r)
    same(summed(number, r, cuts), whole)
    together = np.stack([r.sum(axis=0), np.zeros(len(site))])
    same(whole.merged(0, 1), summed(np.zeros_like(number), together))
    assert not whole.cleared(1).later.support[:, 1].any()
    same(ColumnEvidence.from_state(codec.unpack(codec.pack(asdict(whole)))), whole)


def test_neighbouring_sites_fall_in_different_groups():
    assert len(set(group_of(4 * np.arange(GROUPS)).tolist())) == GROUPS


def metal(rng, parts, room=1):
    """Evidence and moments of a class of metal columns: 30 looks at each of so many sites."""
    true = np.repeat([level for level, sites in parts for _ in range(sites)], 30)
    site = np.repeat(4 * rng.choice(100_000, len(true) // 30, replace=False), 30)
    centre = 1 - TAILS * (1 - true) + 0.06 * rng.standard_normal(len(true))
    blank = np.zeros((len(true), 3), np.float32)
    sample = Sample(centre, blank, np.zeros(len(true), np.int8), blank, site)
    r = np.ones((room, len(true)))
    sums = ColumnEvidence.empty(room, WS2).with_members(r, sample, COLUMN_NOISE, WS2)
    return sums, np.array([len(true), centre.mean(), centre.std() / np.sqrt(len(true))])


@pytest.mark.parametrize("level", [0.382, 0.0, 0.68])
def test_members_are_measured_free_of_tails(level):
    sums, moments = metal(np.random.default_rng(8), [(level, 30)])
    mean = of_members(sums, 0, 0, moments, 1.0, REPEAT)
    read = of_looks(sums.own, 0, 1.0, REPEAT, MEMBERS)
    for one in (mean, read):
        assert one.value == pytest.approx(level, abs=0.01)
        assert one.by == MEMBERS
        assert moments[2] / TAILS * 0.95 <= one.error < 3 * moments[2]
        assert one.half_width(1.0, 0.95) > 1.96 * one.error
    assert of_members(sums, 0, 0, np.array([0.4, 0.3, 0.1]), 1.0, REPEAT) is None
    assert less_tails(np.array(HOST), HOST) == pytest.approx(HOST)


def test_a_class_of_two_kinds_is_measured_by_the_commoner():
    """The mixture may put dopants and vacancies in one class; their mean is neither's."""
    sums, moments = metal(np.random.default_rng(9), [(0.382, 20), (0.0, 10), (2.0, 1)])
    assert 0.25 < less_tails(moments[1], 1.0) < 0.35
    one = of_looks(sums.own, 0, 1.0, REPEAT, MEMBERS)
    assert one.value == pytest.approx(0.382, abs=0.01)
    # a fiftieth may always be something else
    assert one.held == pytest.approx((20 / 31, 10 / 31), abs=0.02)


def check(dose, seed, frames):
    """Run a movie: every class that is named measures what its species is expected to have.

    Returns its vacancies.
    """
    told = [
        one
        for one in ratios.classes(ratios.FIRST_SEED + seed, dose, frames)
        if ratios.measured(one) and ratios.agrees(one) is not None
    ]
    vacancies = [one for one in told if one["species"].startswith("VS")]
    assert vacancies, (dose, seed)
    for one in told:
        shown = dose, seed, {k: v for k, v in one.items() if k not in ("mean_image", "neighbours")}
        assert ratios.agrees(one), shown
        assert one["measured_by"] == (LATER_LOOKS if one in vacancies else MEMBERS), shown
    return vacancies


def test_a_movie_measures_what_its_classes_are():
    """At 1,600 electrons a pixel the members of a class of vacancies are far too dark."""
    for one in check(1600.0, 0, 40):
        assert one["members_ratio"] < 0.35
        assert one["ratio"] == pytest.approx(0.5, abs=0.08)
        assert one["ratio_high"] - one["ratio_low"] < 0.25


@pytest.mark.long
@pytest.mark.parametrize("dose", ratios.DOSES)
@pytest.mark.parametrize("seed", range(3))
def test_movies_measure_what_their_classes_are(dose, seed):
    for one in check(dose, seed, 80):
        assert one["ratio"] == pytest.approx(0.5, abs=0.06), (dose, seed, one["ratio"])
