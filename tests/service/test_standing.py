"""Checks added up: the interval, what is called low, and that it does not flicker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from latticewatch.agreement import Counts
from latticewatch.standing import (
    REPEAT_SHARE,
    Check,
    Rule,
    Standing,
    agreement_of,
    describe,
)

RULE = Rule(every=10, window=4, limit=0.85, patience=2)
GOOD, BAD = Counts(40, 0, 1), Counts(10, 30, 20)

counted = st.builds(Counts, *[st.integers(0, 60)] * 3)


def stand(*counts, rule=RULE) -> list[Standing]:
    """Standing after each."""
    told = [Standing()]
    for k, one in enumerate(counts):
        told.append(told[-1].after(Check(10 * k, one), rule))
    return told[1:]


def test_the_number_of_a_frame_alone_says_whether_it_is_checked():
    assert [frame for frame in range(31) if RULE.checks(frame)] == [0, 10, 20, 30]
    assert not any(Rule(every=0).checks(frame) for frame in range(31))


def test_the_estimate_is_the_harmonic_mean_of_both_directions():
    told = agreement_of(Counts(30, 10, 5), 1)
    found, labelled = 30 / 40, 30 / 35
    assert told.mean == pytest.approx(2 * found * labelled / (found + labelled))
    summary = Standing((Check(0, Counts(30, 10, 5)),)).summary(RULE)
    assert summary["labels_found"]["mean"] == pytest.approx(found)
    assert summary["marks_labelled"]["mean"] == pytest.approx(labelled)


def test_the_interval_of_one_check_is_jeffreys_carried_over():
    told = agreement_of(Counts(30, 10, 5), 1)
    for quantile, bound in ((0.025, told.low), (0.975, told.high)):
        share = beta(30.5, 15.5).ppf(quantile)
        assert bound == pytest.approx(2 * share / (1 + share), rel=1e-6)


def test_the_same_columns_seen_again_do_not_count_as_new_ones():
    once, often = agreement_of(Counts(30, 10, 5), 1), agreement_of(Counts(300, 100, 50), 10)
    naive = agreement_of(Counts(300, 100, 50), 1)
    assert naive.high - naive.low < often.high - often.low < once.high - once.low
    effect = 1 + 9 * REPEAT_SHARE
    same = agreement_of(Counts(300, 100, 50), 10)
    share = beta(300 / effect + 0.5, 150 / effect + 0.5).ppf(0.975)
    assert same.high == pytest.approx(2 * share / (1 + share), rel=1e-6)


def test_the_interval_covers_a_known_share():
    rng = np.random.default_rng(3)
    share, covered, runs = 0.8, 0, 2000
    truth = 2 * share / (1 + share)
    for hits in rng.binomial(50, share, runs):
        told = agreement_of(Counts(int(hits), 50 - int(hits), 0), 1)
        covered += told.low <= truth <= told.high
    assert 0.93 <= covered / runs <= 0.97


@given(st.lists(counted, min_size=1, max_size=12))
def test_estimates_lie_in_their_intervals_and_a_window_forgets(counts):
    last = stand(*counts)[-1]
    estimate = last.estimate
    assert 0 <= estimate.low <= estimate.high <= 1
    if estimate.mean is not None:
        assert estimate.low <= estimate.mean <= estimate.high
    alone = stand(*counts[-RULE.window :])[-1]
    assert alone.counts == last.counts
    assert len(last.checks) <= RULE.window


def test_low_is_said_after_patience_and_taken_back_at_the_limit():
    told = [one.low for one in stand(*[GOOD] * 4, *[BAD] * 6, *[GOOD] * 6)]
    fell = told.index(True)
    assert 5 <= fell < 10
    back = fell + told[fell:].index(False)
    assert all(told[fell:back])
    assert not any(told[back:])


def test_patience_counts_checks_in_a_row():
    doubtful = Counts(25, 10, 0)  # its interval holds the limit
    told = stand(BAD, doubtful, BAD, BAD, rule=Rule(window=1, patience=2))
    assert [one.streak for one in told] == [1, 0, 1, 2]
    assert [one.low for one in told] == [False, False, False, True]


def test_one_bad_frame_among_good_ones_is_not_low():
    assert not any(one.low for one in stand(*[GOOD] * 3, BAD, *[GOOD] * 5))


@pytest.mark.parametrize("counts", [Counts(1, 2, 0), Counts(2, 1, 0)])
def test_a_few_labels_in_a_frame_do_not_alarm_at_once(counts):
    assert not any(one.low for one in stand(*[counts] * 3, rule=Rule()))


@given(st.integers(0, 40))
def test_frames_without_labels_say_nothing(many):
    told = stand(*[Counts()] * many)
    assert not any(one.low or one.streak for one in told)
    if told:
        assert told[-1].estimate.mean is None
        assert "no column" in describe(told[-1].estimate, 0.85)


def test_another_model_begins_anew_and_stays_low_until_it_is_shown_to_be_well():
    low = stand(*[BAD] * 4)[-1]
    assert low.low
    fresh = low.afresh()
    assert (fresh.checks, fresh.streak, fresh.low) == ((), 0, True)
    assert fresh.after(Check(50, Counts()), RULE).low
    assert not fresh.after(Check(50, GOOD), RULE).low
