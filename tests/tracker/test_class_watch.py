"""Verdicts on classes: overlap against numbers from outside, and hysteresis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from latticewatch.tracker.class_watch import (
    IN_A_ROW,
    JUDGE_EVERY,
    MEMORY,
    ClassWatch,
    judge_class,
    judge_pairs,
)


def looks(rng, n, distance, shares=(0.5, 0.5)):
    """Points on a line from two normal kinds, and their true class probabilities."""
    kind = rng.random(n) < shares[1]
    x = rng.normal(size=n) + distance * kind
    density = np.stack([shares[0] * norm.pdf(x), shares[1] * norm.pdf(x - distance)], axis=1)
    return x, density / density.sum(axis=1, keepdims=True)


def noted(watch, rng, distance, times=1, shares=(0.5, 0.5)):
    for _ in range(times):
        x, r = looks(rng, int(MEMORY) // 10, distance, shares)
        r = np.vstack([r.T, np.zeros(len(r))])
        watch = watch.noted(r, r.argmax(axis=0), x[:, None], np.arange(len(x)), 0)
    return watch


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.85, 0.15)])
@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0, 3.6])
def test_overlap_is_the_integral_over_both_classes(distance, shares):
    def integrand(x):
        a, b = shares[0] * norm.pdf(x), shares[1] * norm.pdf(x - distance)
        return a * b / (a + b)

    expected = quad(integrand, -8, 8 + distance)[0] / (shares[0] * shares[1])
    watch = noted(ClassWatch.empty(3, 1), np.random.default_rng(0), distance, 40, shares)
    overlap = watch.overlap()
    assert overlap[0, 1] == pytest.approx(expected, abs=0.03)
    assert np.isnan(overlap[0, 2])  # nothing is known of a class without members


def pairs_after(*distances):
    """Judge pairs while two kinds stand so far apart, one value for each judging."""
    watch, rng, told = ClassWatch.empty(3, 1), np.random.default_rng(1), []
    for distance in distances:
        watch, verdict = judge_pairs(noted(watch, rng, distance, 10))
        told.append(verdict is not None)
    return told


def test_only_what_was_apart_can_become_one_and_only_if_it_stays_so():
    assert not any(pairs_after(*[0.5] * 12))  # never apart
    assert not any(pairs_after(*[2.5] * 6, *[0.5] * 8))  # never clearly apart
    told = pairs_after(*[6.0] * IN_A_ROW, *[0.5] * 12)
    assert sum(told) >= 1
    assert told.index(True) >= 2 * IN_A_ROW - 1
    assert not any(pairs_after(*[6.0] * 4, *[0.5, 6.0] * 6))  # a fit of it


def one_class(watch, points):
    n = len(points)
    return watch.noted(np.ones((1, n)), np.zeros(n, int), points, np.arange(n), 0)


def classes_after(*distances):
    watch, rng, told, frame = ClassWatch.empty(1, 4), np.random.default_rng(2), [], 0
    for distance in distances:
        points = rng.normal(size=(400, 4))
        points[:, 1] += distance * (rng.random(400) < 0.5)
        watch = one_class(watch, points)
        frame += JUDGE_EVERY
        watch, verdict = judge_class(watch, frame, 0.25, 1e-6)
        told.append(verdict is not None)
    return told


def test_only_what_was_one_can_become_two_and_only_if_it_stays_so():
    assert not any(classes_after(*[8.0] * 12))  # two from the start
    told = classes_after(*[0.0] * IN_A_ROW, *[8.0] * 6)
    assert told.index(True) >= 2 * IN_A_ROW - 1
    assert not any(classes_after(*[0.0] * 12))
    assert not any(classes_after(*[0.0] * 4, *[8.0, 0.0, 0.0, 0.0] * 4))


def test_classes_are_judged_on_new_descriptors_and_not_in_every_frame():
    watch, rng = ClassWatch.empty(1, 2), np.random.default_rng(3)
    watch = one_class(watch, rng.normal(size=(400, 2)))
    first, _ = judge_class(watch, 0, 0.25, 1e-6)
    assert first.one[0] == 1
    again, _ = judge_class(first, JUDGE_EVERY, 0.25, 1e-6)  # nothing new
    assert again.one[0] == 1
    more = one_class(first, rng.normal(size=(400, 2)))
    assert judge_class(more, JUDGE_EVERY - 1, 0.25, 1e-6)[0].one[0] == 1
    assert judge_class(more, JUDGE_EVERY, 0.25, 1e-6)[0].one[0] == 2


def test_a_change_wipes_what_was_known_of_the_classes_in_it():
    watch = noted(ClassWatch.empty(3, 1), np.random.default_rng(4), 6.0, 10)
    watch = replace(watch, apart=np.full((3, 3), IN_A_ROW), one=np.full(3, IN_A_ROW))
    after = watch.anew((1,))
    assert after.one.tolist() == [IN_A_ROW, 0, IN_A_ROW]
    assert after.apart[0].tolist() == [IN_A_ROW, 0, IN_A_ROW]
    assert after.mass[1] == after.joint[0, 1] == after.reservoir.filled[1] == 0
    assert after.mass[0] == watch.mass[0]
