"""Words of labels: kept frame by frame they are those of the whole history, cut up in any way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from latticewatch.detections import FrameInfo
from latticewatch.tracker.tracks import STATES, new_tracks
from latticewatch.tracker.words import (
    ALPHABET,
    CONTEXT,
    LETTER_OF_CELL,
    LETTERS,
    WordCounts,
    cells_of,
    count_words,
    pairs,
)

#: Likelihoods by label: 0 is missed, 2 s + 1 an unsure and 2 s + 2 a sure label of state s.
LIKELIHOODS = np.zeros((ALPHABET, STATES))
for _state in range(STATES):
    for _sure, _share in enumerate((0.6, 0.94)):
        LIKELIHOODS[1 + 2 * _state + _sure] = (1 - _share) / 3
        LIKELIHOODS[1 + 2 * _state + _sure, _state] = _share

histories = st.lists(
    st.lists(st.integers(0, LETTERS), min_size=14, max_size=14), min_size=1, max_size=5
)


def counted(letters, frames=None, counts=None, tracks=None, **header):
    """Count the letters (tracks, frames) frame by frame; the counts and the tracks after."""
    counts = counts or WordCounts.empty(STATES)
    tracks = new_tracks(np.arange(len(letters))) if tracks is None else tracks
    for frame in range(letters.shape[1]) if frames is None else frames:
        info = FrameInfo(frame, 2.0 * frame, (1, 1), None, **header)
        counts = count_words(counts, tracks, LIKELIHOODS[letters[:, frame]], info)
    return counts, tracks


@settings(max_examples=100, deadline=None)
@given(histories)
def test_words_are_those_of_the_whole_history(drawn):
    letters = np.array(drawn)
    batch = np.zeros((ALPHABET,) * CONTEXT + (LETTERS,), int)
    for path in letters:
        padded = np.concatenate([np.zeros(CONTEXT, int), path])
        for t in np.flatnonzero(path):
            batch[(*padded[t : t + CONTEXT], path[t] - 1)] += 1
    assert_array_equal(counted(letters)[0].words, batch.reshape(-1, LETTERS))


@settings(max_examples=50, deadline=None)
@given(histories, st.integers(0, 14), st.integers(0, 5))
def test_words_do_not_depend_on_how_the_history_is_cut(drawn, when, who):
    letters = np.array(drawn)
    whole, _ = counted(letters)
    early, tracks = counted(letters, range(when))
    assert_array_equal(counted(letters, range(when, 14), early, tracks)[0].words, whole.words)
    parts = [counted(part)[0].words for part in (letters[:who], letters[who:])]
    assert_array_equal(sum(parts), whole.words)


@settings(max_examples=50, deadline=None)
@given(histories)
def test_pairs_are_those_at_that_lag_whatever_lies_between(drawn):
    letters = np.array(drawn)
    counts, _ = counted(letters)
    for lag in range(1, CONTEXT + 1):
        before, after = letters[:, :-lag], letters[:, lag:]
        both = (before > 0) & (after > 0)
        table = np.zeros((STATES, STATES), int)
        np.add.at(table, ((before[both] - 1) // 2, (after[both] - 1) // 2), 1)
        assert_array_equal(pairs(counts, lag), table)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1e-6, 1.0), min_size=STATES, max_size=STATES))
def test_a_letter_tells_the_likeliest_state_and_whether_it_is_sure(drawn):
    share = np.array([drawn]) / sum(drawn)
    letter = LETTER_OF_CELL[cells_of(share)][0]
    assert (letter - 1) // 2 == share.argmax()
    assert (letter - 1) % 2 == (share.max() > 0.7)


def test_evidence_is_the_sum_of_normalised_likelihoods():
    counts, _ = counted(np.array([[1, 2, 0, 2, 8]]))
    assert counts.evidence.sum(axis=0) == pytest.approx(
        LIKELIHOODS[1] + 2 * LIKELIHOODS[2] + LIKELIHOODS[8]
    )
    assert counts.cells.sum() == 4


def test_the_clock_counts_steps_over_one_frame_with_their_time_and_dose():
    counts, _ = counted(np.array([[1, 1, 0, 1, 1, 1]]), dose_e_per_A2=30.0)
    assert counts.clock.tolist() == [3, 6.0, 3, 90.0]
    assert counted(np.array([[1, 1]]))[0].clock.tolist() == [1, 2.0, 0, 0.0]


def test_a_source_that_paused_begins_a_new_word():
    tracks, counts = new_tracks(np.arange(1)), WordCounts.empty(STATES)
    for frame, time_s in enumerate((0.0, 1.0, 60.0, 61.0)):
        info = FrameInfo(frame, time_s, (1, 1), None, 1.0)
        counts = count_words(counts, tracks, LIKELIHOODS[[1]], info)
    assert pairs(counts, 1).sum() == 2
    assert pairs(counts, 2).sum() == 0
    assert counts.clock[1] == 2.0


def test_a_crystal_without_states_has_no_words():
    none = WordCounts.empty(0)
    assert none.words.size == none.cells.size == 0
    assert count_words(none, new_tracks(np.arange(2)), np.zeros((2, STATES)), None) is none
