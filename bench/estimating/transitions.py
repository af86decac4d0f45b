"""Transition matrices against simulated truth: bias, coverage, the memory test, rates, dwells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from simulated_labels import (
    MATRICES,
    RATES,
    Movie,
    labels_of,
    likelihoods,
    original_of,
    plain_of,
    states_of,
    words_of,
)

from latticewatch.tracker import hidden, intervals, rates, transitions
from latticewatch.tracker.dependence import LEVEL, dependence
from latticewatch.tracker.tracks import STATES
from latticewatch.tracker.words import ALPHABET, CONTEXT, LETTERS, WordCounts

CREDIBLE = 0.95
#: Movies of the accuracy table, and those of which each line of the memory table is made.
MOVIES = 200


@dataclass(frozen=True)
class Judged:
    """One estimate's matrices over movies, against the truth."""

    truth: np.ndarray
    estimates: np.ndarray
    inside: np.ndarray

    @property
    def bias(self) -> float:
        """Greatest mean error of an entry."""
        return float(np.abs(self.estimates.mean(axis=0) - self.truth).max())

    @property
    def scatter(self) -> float:
        """Root mean square error of an entry."""
        return float(np.sqrt(((self.estimates - self.truth) ** 2).mean()))

    @property
    def covered(self) -> float:
        """Share of intervals, over all entries, that hold the truth."""
        return float(self.inside.mean())

    @property
    def worst(self) -> float:
        """The same of the worst entry."""
        return float(self.inside.mean(axis=0).min())


def _collected(truth: np.ndarray, found: Iterable[tuple[np.ndarray, ...]]) -> Judged:
    """Gather (estimate, low, high) of movies."""
    estimates, low, high = (np.array(part) for part in zip(*found, strict=True))
    return Judged(truth, estimates, (low <= truth) & (truth <= high))


def shortened(counts: WordCounts, context: int) -> WordCounts:
    """Forget what lies further back than `context` frames."""
    cube = counts.words.reshape(ALPHABET ** (CONTEXT - context), -1, LETTERS).sum(axis=0)
    words = np.zeros_like(counts.words)
    words[: len(cube)] = cube
    return replace(counts, words=words)


def hidden_estimate(counts: WordCounts) -> tuple[np.ndarray, ...]:
    """Matrix, low and high."""
    found = hidden.fit(counts)
    return found.matrix, *found.interval(CREDIBLE)


def judge(matrix: np.ndarray, movie: Movie, movies: int, seed: int) -> dict[str, Judged]:
    """Hold hidden-state estimate, plain matrix and the original's way against the truth."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[tuple[np.ndarray, ...]]] = {"hidden": [], "plain": [], "original": []}
    for _ in range(movies):
        single = likelihoods(states_of(matrix, movie, rng), movie, rng)
        labels = labels_of(single)
        found["hidden"].append(hidden_estimate(words_of(single)))
        found["plain"].append(intervals.dirichlet(successive(labels), CREDIBLE))
        old = original_of(labels)
        found["original"].append((old, old, old))
    return {way: _collected(matrix, values) for way, values in found.items()}


def judge_contexts(matrix: np.ndarray, movie: Movie, movies: int, seed: int) -> list[Judged]:
    """Hidden-state estimates by 1, 2, ... remembered frames."""
    rng = np.random.default_rng(seed)
    found: list[list[tuple[np.ndarray, ...]]] = [[] for _ in range(CONTEXT)]
    for _ in range(movies):
        counts = words_of(likelihoods(states_of(matrix, movie, rng), movie, rng))
        for context, values in enumerate(found, 1):
            values.append(hidden_estimate(shortened(counts, context)))
    return [_collected(matrix, values) for values in found]


def noise_labels(shares: np.ndarray, movie: Movie, rng: np.random.Generator) -> np.ndarray:
    """Labels (dopants, frames) drawn anew in each frame; -1 where missed."""
    labels = rng.choice(len(shares), (movie.dopants, movie.frames), p=shares)
    return np.where(rng.random(labels.shape) < movie.missed, -1, labels)


def successive(labels: np.ndarray) -> np.ndarray:
    """Count pairs (s, s) of labels in successive frames."""
    before, after = labels[:, :-1], labels[:, 1:]
    both = (before >= 0) & (after >= 0)
    table = np.zeros((STATES, STATES), np.int64)
    np.add.at(table, (before[both], after[both]), 1)
    return table


def rejected(labels: Iterable[np.ndarray]) -> tuple[float, float]:
    """Share of movies whose labels are said to remember, and the mean bits."""
    tests = [dependence(successive(one)) for one in labels]
    return float(np.mean([bool(t.remembers) for t in tests])), float(
        np.mean([t.bits for t in tests])
    )


#: Shares of labels that are pure noise, and how many there are: even, uneven, rare, few.
NOISE = (
    (np.full(4, 0.25), Movie()),
    (np.array([0.7, 0.1, 0.1, 0.1]), Movie()),
    (np.array([0.97, 0.01, 0.01, 0.01]), Movie(frames=40)),
    (np.array([0.7, 0.1, 0.1, 0.1]), Movie(5, 10)),
)


def judge_memory(
    movies: int, seed: int, movie: Movie
) -> tuple[list[tuple[str, float, float]], list[tuple[str, float, float]]]:
    """Memory test on pure noise and on kinetics: name, share rejected, bits."""
    rng = np.random.default_rng(seed)
    noise, kinetics = [], []
    for shares, seen in NOISE:
        name = f"noise {'/'.join(f'{s:.2g}' for s in shares)}, {seen.dopants} x {seen.frames}"
        noise.append((name, *rejected(noise_labels(shares, seen, rng) for _ in range(movies))))
    for name, matrix in MATRICES.items():
        drawn = (
            labels_of(likelihoods(states_of(matrix, movie, rng), movie, rng)) for _ in range(movies)
        )
        kinetics.append((f"{name}, {movie.name}", *rejected(drawn)))
    return noise, kinetics


def judge_rates(movie: Movie, movies: int, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Covered share (s, s) and mean of the rates that are not zero in truth; movies without any."""
    rng = np.random.default_rng(seed)
    inside, found, none = [], [], 0
    for _ in range(movies):
        counts = words_of(likelihoods(states_of(MATRICES["rates"], movie, rng), movie, rng))
        fitted = hidden.fit(counts)
        process = rates.generator(fitted.matrix, fitted.covariance)
        if isinstance(process, str):
            none += 1
            continue
        low, high = rates.interval(np.abs(process.rates), process.variance, CREDIBLE)
        inside.append((low <= np.abs(RATES)) & (np.abs(RATES) <= high))
        found.append(np.abs(process.rates))
    return np.mean(inside, axis=0), np.mean(found, axis=0), none


def judge_dwells(matrix: np.ndarray, movie: Movie, movies: int, seed: int) -> dict[str, np.ndarray]:
    """Mean stays (s,) in frames, by the ways of counting, from labels that are right.

    ``completed`` leaves out what is cut off.
    """
    rng = np.random.default_rng(seed)
    truth = 1.0 / (1.0 - np.diag(matrix))
    names = tuple(map(str, range(len(matrix))))
    values: dict[str, list[list[float]]] = {"completed": [], "exposure": [], "covered": []}
    for _ in range(movies):
        told = plain_of(labels_of(likelihoods(states_of(matrix, movie, rng), movie, rng)))
        dwell = transitions.summary(told, names, CREDIBLE)["dwell"]
        values["completed"].append([d["completed_mean_frames"] or np.nan for d in dwell])
        values["exposure"].append([d["mean_frames"] or np.nan for d in dwell])
        values["covered"].append(
            [float(d["low"] <= t <= d["high"]) for d, t in zip(dwell, truth, strict=True)]
        )
    return {"truth": truth, **{k: np.nanmean(v, axis=0) for k, v in values.items()}}


def table(rows: Iterable[tuple[str, Movie, dict[str, Judged]]]) -> str:
    """Accuracy as text."""
    head = (
        f"{'matrix':11s} {'movie':44s} {'hidden: bias':>12s} {'rms':>6s} {'covered':>7s} "
        f"{'worst':>6s} {'plain: bias':>11s} {'covered':>7s} {'original: bias':>14s}"
    )
    lines = [head]
    for name, movie, ways in rows:
        h, p, o = ways["hidden"], ways["plain"], ways["original"]
        lines.append(
            f"{name:11s} {movie.name:44s} {h.bias:12.4f} {h.scatter:6.4f} {h.covered:7.1%} "
            f"{h.worst:6.1%} {p.bias:11.3f} {p.covered:7.1%} {o.bias:14.3f}"
        )
    return "\n".join(lines)


def contexts_table(movies: int) -> str:
    """Accuracy by the frames remembered, as text."""
    lines = [f"Hidden estimate by the frames remembered ({Movie().name})"]
    for name, matrix in MATRICES.items():
        told = judge_contexts(matrix, Movie(), movies, 2)
        parts = [f"{k}: rms {j.scatter:.4f} covered {j.covered:.1%}" for k, j in enumerate(told, 1)]
        lines.append(f"{name:11s} {'  '.join(parts)}")
    return "\n".join(lines)


def memory_table(movies: int) -> str:
    """Memory test as text."""
    lines = [f"Memory test: share of {movies} movies that p <= {LEVEL} rejects, mean bits"]
    short, long = (judge_memory(movies, 3, Movie(frames=frames)) for frames in (100, 300))
    for name, share, bits in (*short[0], *short[1], *long[1]):
        lines.append(f"{name:45s} {share:7.1%} {bits:9.5f}")
    return "\n".join(lines)


def rates_table(movies: int) -> str:
    """Rates and mean stays as text."""
    covered, mean, none = judge_rates(Movie(), movies, 4)
    some = RATES > 0
    bias = np.abs(mean - RATES)[some].max()
    told = judge_dwells(MATRICES["uneven"], Movie(frames=30, error=0.0), movies, 5)
    head = (
        f"Rates behind 'rates' ({Movie().name}): covered {covered[some].mean():.1%}, worst "
        f"{covered[some].min():.1%}; bias at most {bias:.4f} a frame; none in {none} of {movies}"
        "\n\nMean stays in 30 frames of 'uneven', labels right: true, completed, by exposure, held"
    )
    rows = (
        f"state {s}: {told['truth'][s]:6.2f} {told['completed'][s]:6.2f} "
        f"{told['exposure'][s]:6.2f} {told['covered'][s]:6.1%}"
        for s in range(len(RATES))
    )
    return "\n".join([head, *rows])


#: What the accuracy table looks at.
CASES = (
    Movie(frames=100, missed=0.0),
    Movie(frames=100),
    Movie(frames=300, missed=0.0),
    Movie(frames=300),
    Movie(frames=200, error=None),
    Movie(frames=200, error=None, separation=1.5),
    Movie(frames=200, error=None, power=0.6, vacant=-0.6),
)


def main_table(quick: bool) -> str:
    """All tables; over 200 movies a line, or 20 of some where `quick`."""
    movies = 20 if quick else MOVIES
    rows = [
        (name, movie, judge(matrix, movie, movies, seed=1))
        for movie in (CASES[1:2] if quick else CASES)
        for name, matrix in MATRICES.items()
    ]
    title = "Largest bias of an entry, root mean square error, coverage of 95 % intervals"
    parts = [contexts_table(movies), memory_table(movies), rates_table(movies)]
    return "\n\n".join([f"{title}\n{table(rows)}", *parts])
