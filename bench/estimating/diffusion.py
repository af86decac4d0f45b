"""Diffusion where the truth is known: bias, coverage, and the original's estimator beside it.

Positions are in lattice vectors, times in frames, so that the lattice constant is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latticewatch.detections import FrameInfo
from latticewatch.tracker import clustering, memory
from latticewatch.tracker.diffusion import summary
from latticewatch.tracker.following import follow
from latticewatch.tracker.hops import LINES, DiffusionSums
from latticewatch.tracker.links import UNIT_CELL
from latticewatch.tracker.observation import Observation
from latticewatch.tracker.settings import TrackerSettings
from latticewatch.tracker.site_grid import SiteGrid
from latticewatch.tracker.species import species_names
from latticewatch.tracker.tracks import MAX_READINGS, STATES
from latticewatch_models.crystal import crystal_named

HOPS = np.vstack([LINES, -LINES])
CREDIBLE = 0.95
#: Side of the field in cells on which vacancies begin: that of the original's movie is 49.
FIELD = 48


@dataclass(frozen=True)
class Motion:
    """How vacancies move and are seen.

    Attributes
    ----------
    rates
        Hops a frame along each of the three lines, both ways together. Where `free`, the mean of
        Brownian steps is that of as many hops.
    noise
        Share of the frames in which a vacancy is seen on a wrong neighbouring site; where `free`,
        the standard deviation of a position in lattice constants.
    """

    name: str
    rates: tuple[float, float, float]
    noise: float
    free: bool = False
    frames: int = 60
    vacancies: int = 15


def even(rate: float) -> tuple[float, float, float]:
    return rate / 3, rate / 3, rate / 3


MOTIONS = (
    *(
        Motion(f"free, noise {noise:g} a", even(0.4), noise, True, frames, vacancies)
        for noise in (0.0, 0.3, 1.0)
        for frames, vacancies in ((20, 5), (60, 15), (100, 40))
    ),
    *(
        Motion(f"lattice, flicker {flicker:.0%}", even(rate), flicker, False, frames, vacancies)
        for rate, flicker in ((0.02, 0.0), (0.02, 0.05), (0.1, 0.0), (0.1, 0.05), (0.3, 0.1))
        for frames, vacancies in ((20, 5), (60, 15), (100, 40))
    ),
    Motion("lattice 2:1:1, flicker 2%", (0.05, 0.025, 0.025), 0.02),
    Motion("lattice 2:1:1, flicker 2%", (0.05, 0.025, 0.025), 0.02, frames=100, vacancies=40),
)


def paths(motion: Motion, rng: np.random.Generator) -> np.ndarray:
    """Positions (frames, vacancies, 2) as they are seen."""
    shape = (motion.frames, motion.vacancies)
    start = rng.integers(0, FIELD, (motion.vacancies, 2)).astype(float)
    if motion.free:
        scale = np.sqrt(sum(motion.rates) / 2)
        steps, noise = rng.normal(0, scale, (*shape, 2)), rng.normal(0, motion.noise, (*shape, 2))
        return np.asarray((np.cumsum(steps, axis=0) + noise) @ np.linalg.inv(UNIT_CELL).T + start)
    counts = rng.poisson(np.tile(np.array(motion.rates) / 2, 2), (*shape, 6))
    wrong = HOPS[rng.integers(0, 6, shape)] * (rng.random((*shape, 1)) < motion.noise)
    return np.asarray(np.cumsum(counts @ HOPS, axis=0) + wrong + start)


def sums_of(places: np.ndarray) -> DiffusionSums:
    """Sum over a whole movie at once: the same as what is added frame by frame."""
    step = np.diff(places, axis=0)
    before = np.concatenate([np.zeros_like(step[:1]), step[:-1]])
    paired = np.repeat(np.arange(len(step)) > 0, step.shape[1])
    flat = step.reshape(-1, 2)
    return DiffusionSums.empty().add(flat, np.ones(len(flat)), before.reshape(-1, 2), paired)


def windows_of(places: np.ndarray) -> clustering.WindowArray:
    """Return the original's windows over a movie."""
    windows = clustering.Windows.empty()
    for frame, here in enumerate(places):
        cells = np.rint(here).astype(np.int32)
        windows = windows.add(cells, np.ones(len(cells), np.int8), frame, float(frame))
    return windows.all()


def original(places: np.ndarray) -> float:
    """Mean coefficient of the two densest windows, by the original's formula."""
    told = clustering.summary(windows_of(places), 1.0, CREDIBLE)["windows"]
    return float(np.mean([w["D_nm2_s"]["value"] for w in told]))


def scattered(motion: Motion, rng: np.random.Generator) -> np.ndarray:
    """As many detections a frame, each anywhere in the field."""
    return np.asarray(rng.integers(0, FIELD, (motion.frames, motion.vacancies, 2)))


@dataclass(frozen=True)
class Row:
    """What 200 or more movies of one kind came to.

    ``bias`` and its standard error are relative; ``covered`` and ``lines`` are the shares of
    intervals of the rate and of the three lines' rates that hold the truth; ``ratio`` that of the
    ratio of principal values; ``rejected`` the share of movies whose isotropy is rejected at 5 %;
    ``original`` and ``scattered`` the original's coefficient over the true one.
    """

    motion: Motion
    movies: int
    bias: float
    bias_error: float
    covered: float
    lines: float
    ratio: float
    rejected: float
    original: float
    scattered: float


def true_ratio(rates: tuple[float, float, float]) -> float:
    """Principal values of the diffusion tensor of these rates, the greater over the smaller."""
    lines = LINES @ UNIT_CELL.T
    low, high = np.linalg.eigvalsh(np.einsum("k,ka,kb->ab", rates, lines, lines))
    return float(high / low)


def _holds(told: dict[str, float | None], truth: float) -> bool:
    high = told["high"]
    return bool(told["low"] <= truth + 1e-9 and (high is None or truth <= high + 1e-9))


def judge(motion: Motion, movies: int, compared: int, seed: int = 9) -> Row:
    """Run the estimators over movies, the original's over the first `compared` of them."""
    rng = np.random.default_rng(seed)
    jump, truth = 0.0 if motion.free else 1.0, sum(motion.rates)
    values, inside, lines, ratio, rejected, old, random = [], 0, 0, 0, 0, [], []
    for movie in range(movies):
        places = paths(motion, rng)
        sums = sums_of(places)
        told = summary(sums, 1.0, CREDIBLE, jump)
        rate, along = told["hop_rate_per_s"], told["directions"]
        values.append(rate["value"])
        inside += _holds(rate, truth)
        pairs = zip(along["lines"], motion.rates, strict=True)
        lines += sum(_holds(line["hop_rate_per_s"], r) for line, r in pairs)
        ratio += along["ratio"] is None or _holds(along["ratio"], true_ratio(motion.rates))
        rejected += along["isotropy"] is not None and along["isotropy"]["p_value"] < 0.05
        if movie < compared:
            old.append(original(places))
            random.append(original(scattered(motion, rng)))
    d = truth / 4
    return Row(
        motion,
        movies,
        float(np.mean(values)) / truth - 1,
        float(np.std(values)) / np.sqrt(movies) / truth,
        inside / movies,
        lines / movies / 3,
        ratio / movies,
        rejected / movies,
        float(np.mean(old)) / d if old else np.nan,
        float(np.mean(random)) / d if random else np.nan,
    )


def observed(cells: np.ndarray, vacancy: int) -> Observation:
    """Return vacancies on these cells of sublattice 1 as the tracker observes them."""
    n = len(cells)
    return Observation(
        cells=cells.astype(np.int32),
        sublattice=np.ones(n, np.int8),
        species=np.full(n, vacancy, np.int8),
        state=np.full(n, -1, np.int8),
        row=np.ones(n, bool),
        bound=np.zeros(n, bool),
        class_id=np.full(n, -1, np.int16),
        class_probability=np.zeros(n),
        belief=np.zeros((n, MAX_READINGS), np.float32),
        state_belief=np.zeros((n, STATES)),
        single=np.zeros((n, STATES)),
        found=n,
        soft_steps=np.zeros((STATES, STATES)),
        doubt=np.nan,
        grid=SiteGrid.of(cells, 1, 1),
    )


def linked(motion: Motion, missed: float, rng: np.random.Generator) -> DiffusionSums:
    """Sum over a movie whose vacancies the tracker has to link, some missed in each frame."""
    crystal, settings = crystal_named("WS2"), TrackerSettings()
    state = memory.fresh(settings, crystal)
    vacancy = species_names(crystal).index(crystal.vacancy)
    for frame, here in enumerate(paths(motion, rng)):
        seen = np.unique(np.rint(here[rng.random(len(here)) >= missed]).astype(int), axis=0)
        state.frame = frame
        info = FrameInfo(frame, float(frame), (512, 512), frame_time_s=1.0)
        follow(state, info, observed(seen, vacancy), crystal, settings)
    return state.kinetics.free_steps


def judge_linked(motion: Motion, missed: float, movies: int, seed: int = 5) -> tuple[float, ...]:
    """Relative bias, its standard error, and coverage where the tracker links."""
    rng = np.random.default_rng(seed)
    truth, values, inside = sum(motion.rates), [], 0
    for _ in range(movies):
        told = summary(linked(motion, missed, rng), 1.0, CREDIBLE)["hop_rate_per_s"]
        values.append(told["value"])
        inside += _holds(told, truth)
    error = float(np.std(values)) / np.sqrt(movies) / truth
    return float(np.mean(values)) / truth - 1, error, inside / movies


LINKED = tuple(
    Motion(f"linked, flicker {flicker:.0%}", even(rate), flicker, vacancies=20)
    for rate, flicker in ((0.02, 0.0), (0.05, 0.0), (0.05, 0.05), (0.1, 0.02), (0.3, 0.02))
)


def table(rows: list[Row]) -> str:
    head = (
        f"{'motion':28s} {'frames':>6s} {'vac.':>4s} {'hops':>5s} {'movies':>6s} {'bias':>14s} "
        f"{'covered':>7s} {'lines':>6s} {'ratio':>6s} {'reject':>6s} "
        f"{'original':>8s} {'random':>7s}"
    )
    lines = [head]
    for r in rows:
        m = r.motion
        lines.append(
            f"{m.name:28s} {m.frames:6d} {m.vacancies:4d} {sum(m.rates):5.2f} {r.movies:6d} "
            f"{100 * r.bias:6.1f}+-{100 * r.bias_error:4.1f} % {r.covered:7.1%} {r.lines:6.1%} "
            f"{r.ratio:6.1%} {r.rejected:6.1%} {r.original:8.2f} {r.scattered:7.2f}"
        )
    return "\n".join(lines)


def linked_table(movies: int, missed: float = 0.05) -> str:
    head = (
        f"{'linked by the tracker':28s} {'frames':>6s} {'vac.':>4s} {'hops':>5s} {'movies':>6s} "
        f"{'bias':>14s} {'covered':>7s}"
    )
    lines = [head]
    for m in LINKED:
        bias, error, covered = judge_linked(m, missed, movies)
        lines.append(
            f"{m.name:28s} {m.frames:6d} {m.vacancies:4d} {sum(m.rates):5.2f} {movies:6d} "
            f"{100 * bias:6.1f}+-{100 * error:4.1f} % {covered:7.1%}"
        )
    return "\n".join(lines)


def main_table(quick: bool) -> str:
    """Both tables; over 200 movies, or 20 of some of the motions where `quick`."""
    motions, movies = (MOTIONS[1::5], 20) if quick else (MOTIONS, 2000)
    rows = [judge(m, movies, movies // 10 if not quick else 4) for m in motions]
    note = (
        "Hop rate a frame (D is a quarter of it in lattice constants squared). covered, lines, "
        "ratio:\n95 % intervals that hold the truth, of the rate, the three lines, the ratio of "
        "principal values.\nreject: isotropy rejected at 5 %. original: its D over the true one; "
        "random: the same for as\nmany detections scattered at random. "
        "Linked: 5 % missed in each frame."
    )
    return f"{table(rows)}\n\n{linked_table(1 if quick else 200)}\n\n{note}"
