"""Words of single-frame labels: all that the hidden-state estimate needs to remember.

A dopant's label in a frame is a letter: the state of greatest likelihood in that frame alone, and
whether it is sure. Each label is counted together with the `CONTEXT` frames before it, of which a
missed one is a letter of its own. These counts are integers of constant size that do not depend on
how a history is cut up, and hold the likelihood of a hidden Markov chain up to what lies further
back than the context.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch.detections import FrameInfo

from .tracks import STATES, TrackArray

#: Frames before a label that are remembered with it. Of states that stay 10 frames, with 10 % of
#: the labels wrong, entries scatter by 0.0115, 0.0082 and 0.0071 with 1, 2 and 3
#: (`bench/kinetics.py --only transitions`); the words grow ninefold with each.
CONTEXT = 3
#: Departure from the header's frame time beyond which frames are not evenly spaced: a source that
#: paused. Scan overheads stay below a fifth.
UNEVEN = 0.5
#: Bounds of the greatest posterior (under a flat prior) that part the cells of the evidence, and
#: which of them makes a label sure. The cells are as fine as the confusion needs; two letters a
#: state are as many as the words can bear.
CONFIDENCE = np.array([0.35, 0.45, 0.55, 0.7, 0.8, 0.9, 0.97])
SURE = 3
#: Letters that can be seen, and all of them with "missed", which is letter 0.
LETTERS = 2 * STATES
ALPHABET = LETTERS + 1
CELLS_PER_RUNNER_UP = len(CONFIDENCE) + 1
CELLS = STATES * (STATES - 1) * CELLS_PER_RUNNER_UP
#: Letter, from 1, of each cell.
LETTER_OF_CELL = (
    1
    + 2 * (np.arange(CELLS) // ((STATES - 1) * CELLS_PER_RUNNER_UP))
    + (np.arange(CELLS) % CELLS_PER_RUNNER_UP > SURE)
)
#: What 0 ... `CONTEXT` missed letters multiply a word by, and how many words there are.
POWERS = ALPHABET ** np.arange(CONTEXT + 1)
WORDS = ALPHABET**CONTEXT
_COLUMNS = np.arange(STATES)


@dataclass(frozen=True)
class WordCounts:
    """Counts of words, the evidence behind their letters, and the time that their steps took.

    Attributes
    ----------
    words
        int64 (ALPHABET**CONTEXT, LETTERS): [letters before, the oldest the most significant digit;
        letter seen - 1].
    cells
        int64 (CELLS,): labels by state, runner-up and confidence.
    evidence
        float64 (CELLS, STATES): sums of their likelihoods, each normalised over the states.
    clock
        float64 (4,): steps over one frame, the seconds that they took, steps with a known dose, and
        that dose (e-/A^2).
    """

    words: np.ndarray
    cells: np.ndarray
    evidence: np.ndarray
    clock: np.ndarray

    @classmethod
    def empty(cls, states: int) -> WordCounts:
        """No words yet; without room for any where the crystal has no dopant states."""
        some = 1 if states else 0
        return cls(
            np.zeros((some * ALPHABET**CONTEXT, LETTERS), np.int64),
            np.zeros(some * CELLS, np.int64),
            np.zeros((some * CELLS, STATES)),
            np.zeros(4),
        )


def cells_of(single: np.ndarray) -> np.ndarray:
    """Cell (n,) of likelihoods (n, STATES) that are normalised over the states."""
    rows = np.arange(len(single))
    best = single.argmax(axis=1)
    rest = single.copy()
    rest[rows, best] = -1.0
    runner_up = (rest.argmax(axis=1) - best) % STATES - 1
    level = np.searchsorted(CONFIDENCE, single[rows, best])
    return np.asarray((best * (STATES - 1) + runner_up) * CELLS_PER_RUNNER_UP + level)


def state_of(letter: np.ndarray) -> np.ndarray:
    """Label behind a letter; -1 for a missed one."""
    return np.where(letter > 0, (letter - 1) // 2, -1)


def count_words(
    counts: WordCounts, tracks: TrackArray, single: np.ndarray, info: FrameInfo
) -> WordCounts:
    """Count the words that a frame ends; updates the tracks' memory of their last letters.

    Parameters
    ----------
    counts
        Before the frame.
    tracks
        n tracks that the frame continues or begins.
    single
        (n, STATES), likelihood of the states in this frame alone, up to a factor a row; zeros where
        the defect has none. It must not lean on earlier frames: words of a filter's output would
        have the filter's memory.
    info
        The frame. If its header says how long a frame takes, a track is not continued across a time
        that does not fit: its word begins anew.
    """
    # numpy takes ten times as long to add up rows of four
    total = single[:, 0] + single[:, 1] + single[:, 2] + single[:, 3]
    seen = (total > 0).nonzero()[0]
    if not len(seen):
        return counts
    lag, time = info.frame - tracks["word_frame"][seen], info.time_s - tracks["word_time"][seen]
    # Digits older than the context drop out by themselves; more frames missed than it holds are
    # no different from as many as it holds.
    missed = np.minimum(np.maximum(lag - 1, 0), CONTEXT)
    context = tracks["word"][seen] * POWERS[missed] % WORDS
    if info.frame_time_s is not None:
        context[np.abs(time / (info.frame_time_s * lag) - 1.0) >= UNEVEN] = 0
    share = single[seen] / total[seen, None]
    cell = cells_of(share)
    letter = LETTER_OF_CELL[cell]
    words = np.bincount(context * LETTERS + letter - 1, minlength=counts.words.size)
    evidence = counts.evidence.copy()
    np.add.at(evidence.reshape(-1), (cell[:, None] * STATES + _COLUMNS).ravel(), share.ravel())
    step = (context % ALPHABET).nonzero()[0]
    dosed = 0 if info.dose_e_per_A2 is None else len(step)
    clock = (len(step), time[step].sum(), dosed, dosed * (info.dose_e_per_A2 or 0.0))
    tracks["word"][seen] = (context * ALPHABET + letter) % WORDS
    tracks["word_frame"][seen], tracks["word_time"][seen] = info.frame, info.time_s
    return WordCounts(
        counts.words + words.reshape(counts.words.shape),
        counts.cells + np.bincount(cell, minlength=counts.cells.size),
        evidence,
        counts.clock + np.array(clock),
    )


def pairs(counts: WordCounts, lag: int) -> np.ndarray:
    """Labels by label `lag` frames earlier, int64 (STATES, STATES); `lag` up to CONTEXT."""
    cube = counts.words.reshape((ALPHABET,) * CONTEXT + (LETTERS,))
    axes = tuple(a for a in range(CONTEXT) if a != CONTEXT - lag)
    both = cube.sum(axis=axes)[1:]
    return np.asarray(both.reshape(STATES, 2, STATES, 2).sum(axis=(1, 3)))
