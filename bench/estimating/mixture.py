"""The online mixture beside scikit-learn's batch fits: likelihood, labels, cost.

Two kinds of data: descriptors of simulated WS2 as the tracker sees them (true positions with
0.3 px of scatter, the kernels of this repository), its frames in random order, so that online and
batch see one distribution; and a set without overlap, of the same dimensions.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from latticewatch.analysis import _describe
from latticewatch.stopwatch import Stopwatch
from latticewatch.tracker.descriptors import describe, update_basis
from latticewatch.tracker.mixture import Mixture, learn, steps_behind
from latticewatch.tracker.mixture_start import warm_start
from latticewatch.tracker.moments import Moments, products
from latticewatch.tracker.settings import TrackerSettings
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.labelling import label
from latticewatch_kernels.registration import register
from latticewatch_models.kinetics import Rates
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig

SCATTER_PX = 0.3
#: Vacancies hop and bind, nothing is damaged: what is there stays what it is.
CALM = Rates(damage_barn=0.0, metal_damage_barn=0.0, hole_nucleation_barn=0.0, hole_growth_barn=0.0)
BATCH, WARM_UP = TrackerSettings().batch, TrackerSettings().warm_up


@dataclass(frozen=True)
class Scene:
    """Descriptors (n, d), and the least variance that the mixture is given."""

    points: np.ndarray
    floor: float


@dataclass(frozen=True)
class Seen:
    """Detections of many frames as `describe` wants them, and the mean noise of a column."""

    centre: np.ndarray
    neighbours: np.ndarray
    sublattice: np.ndarray
    patches: np.ndarray
    noise: float

    def scene(self, warm_up: int) -> Scene:
        """Descriptors in the basis that a warm-up of this length gives."""
        s = TrackerSettings()
        rows = self.patches[:warm_up].reshape(warm_up, -1)
        basis = update_basis(None, rows, s.components)
        scores = basis.project(self.patches).scores
        points = describe(self.centre, self.neighbours, self.sublattice, scores)
        return Scene(points, max(s.covariance_floor, self.noise**2))


def specimen(n: int, dose: float, seed: int, size: int = 512) -> Seen:
    """Take n detections in simulated WS2, frames in random order."""
    rng = np.random.default_rng(seed)
    imaging = ImagingConfig(dose_e_per_pixel=dose)
    movie = Microscope(
        "WS2", (size, size), seed=seed, specimen=SpecimenConfig(rates=CALM), imaging=imaging
    )
    frames, count = [], 0
    for frame in movie:
        image = condition(frame.image)
        lattice = register(image)
        truth = frame.truth
        points = np.stack([truth.x_px, truth.y_px], 1)
        points = points + SCATTER_PX * rng.standard_normal(points.shape)
        labels = label(image, lattice)
        frames.append(_describe(lattice, labels, points, np.full(len(points), 0.9), Stopwatch()))
        count += len(points)
        if count >= n:
            break
    shuffled = [frames[i] for i in rng.permutation(len(frames))]
    centre, neighbours, sublattice, patches = (
        np.concatenate([getattr(f, name) for f in shuffled])[:n]
        for name in ("centre", "neighbours", "sublattice", "patches")
    )
    noise = float(np.mean([f.noise.mean() for f in frames]))
    return Seen(centre, neighbours, sublattice, patches, noise)


def apart(n: int, seed: int, classes: int = 5, d: int = 10) -> Scene:
    """Descriptors of classes that stand eight and more standard deviations from each other."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(d, d)))[0][:classes]
    roots = np.eye(d) + 0.15 * rng.normal(size=(classes, d, d))
    kind = rng.choice(classes, n, p=rng.dirichlet(np.full(classes, 10.0)))
    noise = np.einsum("nij,nj->ni", roots[kind], rng.normal(size=(n, d)))
    return Scene(0.05 * (10.0 * directions[kind] + noise), 1e-4)


def step(mixture: Mixture, points: np.ndarray, floor: float) -> Mixture:
    """Let the mixture learn what one frame brings, as the tracker does."""
    table = products(points)
    gathered = Moments.of(table, mixture.told(table)[0])
    return learn(mixture, gathered, BATCH, TrackerSettings().step_exponent, floor)


def online(points: np.ndarray, k: int, floor: float, warm_up: int = WARM_UP) -> Mixture:
    """Run the tracker's mixture over these points."""
    mixture = start(points, k, floor, warm_up)
    for first in range(warm_up, len(points), BATCH):
        mixture = step(mixture, points[first : first + BATCH], floor)
    return mixture


def start(points: np.ndarray, k: int, floor: float, warm_up: int = WARM_UP) -> Mixture:
    """Fit the warm-up as the tracker does."""
    s, first = TrackerSettings(), points[:warm_up]
    fit = warm_start(first, k, np.random.default_rng(0), s.starts, floor)
    return replace(fit, steps=steps_behind(len(first), BATCH, s.step_exponent))


class Floored(GaussianMixture):
    """scikit-learn's mixture under the tracker's rule of least variance, `reg_covar`.

    scikit-learn adds that to every variance, where the tracker only fills up to it: the likelihood
    would be lower by that alone.
    """

    def _m_step(self, *args: object, **options: object) -> None:
        super()._m_step(*args, **options)
        floor = self.reg_covar
        raw = self.covariances_ - floor * np.eye(self.covariances_.shape[1])
        values, vectors = np.linalg.eigh(raw)
        values = np.maximum(values, floor)
        self.covariances_ = np.einsum("kij,kj,klj->kil", vectors, values, vectors)
        root = np.linalg.inv(np.linalg.cholesky(self.covariances_))
        self.precisions_cholesky_ = root.swapaxes(1, 2)


def batch(points: np.ndarray, k: int, floor: float, seed: int, starts: int) -> GaussianMixture:
    """Fit by scikit-learn from its own starts."""
    return Floored(k, n_init=starts, reg_covar=floor, random_state=seed, max_iter=500).fit(points)


def batch_from(begin: Mixture, points: np.ndarray, floor: float) -> GaussianMixture:
    """Fit by scikit-learn from a start of the tracker's kind."""
    return Floored(
        len(begin),
        reg_covar=floor,
        max_iter=500,
        weights_init=begin.weights,
        means_init=begin.means,
        precisions_init=np.linalg.inv(begin.covariances),
    ).fit(points)


@dataclass(frozen=True)
class Likeness:
    """Online against batch on one set.

    Attributes
    ----------
    likelihood, best, own, same
        Held-out log-likelihood (nats a point) of the online mixture and of scikit-learn's fits to
        all training points: the best of all by these, the best from its own starts, and that from
        the tracker's start on the warm-up.
    rand, rand_same, rand_peer
        Adjusted Rand index of the online labels against the first and the last of these, and of
        two of scikit-learn's runs, each from starts of its own, against each other.
    """

    likelihood: float
    best: float
    own: float
    same: float
    rand: float
    rand_same: float
    rand_peer: float

    def excess(self, over: str = "best") -> float:
        """Likelihood relative to that of one of the fits."""
        other = float(getattr(self, over))
        return (self.likelihood - other) / abs(other)


def compare(
    scene: Scene, k: int, train: int = 20_000, starts: int = 5, warm_up: int = WARM_UP
) -> Likeness:
    """Fit both on the first points and judge them on the rest.

    The best batch fit is sought from scikit-learn's own starts, from the tracker's, and from one
    that is found in the tracker's way among every fourth of the training points.
    """
    points, held = scene.points[:train], scene.points[train:]
    mine = online(points, k, scene.floor, warm_up)
    own = [batch(points, k, scene.floor, seed, starts) for seed in (0, 1)]
    same, spread = (
        batch_from(start(first, k, scene.floor, len(first)), points, scene.floor)
        for first in (points[:warm_up], points[::4])
    )

    def likelihood(fit: GaussianMixture) -> float:
        return float(fit.score(points))

    best = max((*own, same, spread), key=likelihood)
    r, density = mine.responsibilities(held)
    labels = r.argmax(axis=1)
    return Likeness(
        float(density.mean()),
        float(best.score(held)),
        float(max(own, key=likelihood).score(held)),
        float(same.score(held)),
        float(adjusted_rand_score(labels, best.predict(held))),
        float(adjusted_rand_score(labels, same.predict(held))),
        float(adjusted_rand_score(own[0].predict(held), own[1].predict(held))),
    )


def update_ms(scene: Scene, counts: tuple[int, ...], k: int = 5) -> list[tuple[int, float, float]]:
    """Points seen, ms of one online step of 100 points then, ms of a batch refit to all of them.

    The step is timed as the tracker takes it: class probabilities, moments, parameters.
    """
    rows = []
    points = np.resize(scene.points, (max(counts) + 5 * BATCH, scene.points.shape[1]))
    mixture, done = start(points, k, scene.floor, 200), 200
    for count in sorted(counts):
        while done < count:
            mixture = step(mixture, points[done : done + BATCH], scene.floor)
            done += BATCH
        spent = []
        for _ in range(30):
            begin = time.perf_counter()
            # A new mixture, which has to whiten anew as after every step.
            step(replace(mixture), points[done : done + BATCH], scene.floor)
            spent.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        GaussianMixture(k, reg_covar=scene.floor, random_state=0).fit(points[:count])
        refit = time.perf_counter() - begin
        rows.append((count, 1000 * float(np.median(spent)), 1000 * refit))
    return rows


def likeness_rows(*, quick: bool) -> list[tuple[str, int, Likeness]]:
    """Set, warm-up and comparison; scenes without overlap, then specimens."""
    rows = [(f"apart, seed {s}", WARM_UP, compare(apart(30_000, s), 5)) for s in range(2)]
    for dose, seed in (
        ((8000.0, 0),) if quick else ((1600.0, 1), (1600.0, 2), (8000.0, 0), (8000.0, 1))
    ):
        seen = specimen(30_000, dose, seed)
        for warm_up in (200, WARM_UP, 2000):
            scene = seen.scene(warm_up)
            rows.append(
                (f"WS2, {dose:g} e, seed {seed}", warm_up, compare(scene, 5, warm_up=warm_up))
            )
    return rows


def main_table(quick: bool) -> str:
    """All rows as text."""
    heads = ("warm-up", "online", "best", "", "its own", "", "same start", "")
    heads = (*heads, "ARI best", "ARI same", "ARI peer")
    lines = [
        "Held-out log-likelihood (nats a point) after 20,000 descriptors, five classes",
        f"{'set':<22}" + "".join(f"{head:>11}" for head in heads),
    ]
    for name, warm_up, row in likeness_rows(quick=quick):
        cells = [f"{warm_up}", f"{row.likelihood:.3f}"]
        for over in ("best", "own", "same"):
            cells += [f"{getattr(row, over):.3f}", f"{row.excess(over):+.2%}"]
        cells += [f"{value:.3f}" for value in (row.rand, row.rand_same, row.rand_peer)]
        lines.append(f"{name:<22}" + "".join(f"{cell:>11}" for cell in cells))
    lines += [
        "",
        f"{'descriptors before':>18}{'online, ms per 100':>20}{'scikit-learn refit, ms':>24}",
    ]
    counts = (1000, 10_000) if quick else (1000, 10_000, 100_000)
    for count, one, refit in update_ms(apart(20_000, 0), counts):
        lines.append(f"{count:>18}{one:>20.2f}{refit:>24.0f}")
    return "\n".join(lines)
