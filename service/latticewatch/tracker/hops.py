"""Diffusion of vacancies on a triangular lattice from linked tracks: hop rates free of flicker.

Displacements d = (i, j) count lattice vectors a1 and a2, which stand 120 degrees apart. A hop goes
along one of three lines, u_1 = (1, 0), u_2 = (0, 1), u_3 = (1, 1), and the quadratic forms

    Q_1 = i (i - j),   Q_2 = j (j - i),   Q_3 = i j

are dual to them: Q_k(u_l) is 1 for k = l and else 0, and Q_1 + Q_2 + Q_3 = |d|^2 in units of the
lattice constant. With B_k the bilinear form of Q_k, the covariance estimator of Vestergaard,
Blainey and Flyvbjerg, Phys. Rev. E 89, 022726 (2014), eq. 14, reads line by line

    R_k dt = <Q_k(d_n)> + 2 <B_k(d_n, d_(n+1))>,

R_k the rate of hops along line k, both ways together. The second term cancels what comes and goes
within a frame (localisation noise, flicker to a wrong site) exactly in the mean; two hops in one
frame count as two. The coefficient is D = a^2 (R_1 + R_2 + R_3) / 4. Only sums are kept. A scan
visits each point for microseconds of a frame of seconds, so there is no motion blur (R = 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import intervals

#: Pairs of consecutive displacements below which no rate is given: the error is then as large as
#: the rate, and the interval, which solves a quadratic equation, may have no upper end.
LEAST_PAIRS = 20
#: The lines of the six nearest neighbours on a sublattice, in lattice vectors.
LINES = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
#: Their names, and their angles from a1 towards a2 in degrees.
LINE_NAMES = ("a1", "a2", "a1+a2")
LINE_ANGLES = (0.0, 120.0, 60.0)


def line_forms(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Bilinear forms B_k (..., 3) of two displacements (..., 2) in lattice vectors."""
    i, j = one[..., 0] * other[..., 0], one[..., 1] * other[..., 1]
    mixed = (one[..., 0] * other[..., 1] + one[..., 1] * other[..., 0]) / 2
    return np.stack([i - mixed, j - mixed, mixed], axis=-1)


def summed_forms(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`line_forms` of displacements (n, 2), summed: (3,)."""
    (i, ij), (ji, j) = (one.T @ other).tolist()
    mixed = (ij + ji) / 2
    return np.array([i - mixed, j - mixed, mixed])


#: B_k(u_a, u_b) for all lines: shape (k, a, b).
FORMS = np.moveaxis(line_forms(LINES[:, None], LINES[None]), -1, 0)


@dataclass(frozen=True)
class DiffusionSums:
    """Sums over displacements between successive sightings of a vacancy, one frame apart or more.

    A vacancy that has just hopped is missed more often than one that stays; left out, the
    displacements across such gaps would take their hops with them. ``squares`` (3,) sums Q_k(d_n)
    over `steps` displacements that took `time_s`, `products` (3,) sums B_k(d_(n-1), d_n) over
    `pairs` of them; `changes` counts displacements to another site. ``dose`` in e/A^2 is that of
    `dosed` displacements.
    """

    steps: int
    time_s: float
    pairs: int
    changes: int
    dosed: int
    dose: float
    squares: np.ndarray
    products: np.ndarray

    @classmethod
    def empty(cls) -> DiffusionSums:
        """Nothing seen."""
        return cls(0, 0.0, 0, 0, 0, 0.0, np.zeros(3), np.zeros(3))

    def add(
        self,
        step: np.ndarray,
        time_s: np.ndarray,
        before: np.ndarray,
        paired: np.ndarray,
        dose: np.ndarray | None = None,
    ) -> DiffusionSums:
        """Fold in one displacement of each of n tracks.

        Parameters
        ----------
        step, time_s
            (n, 2) in lattice vectors, and (n,) how long it took.
        before, paired
            (n, 2) the track's displacement that ended where this one began, and bool (n,) whether
            there was one.
        dose
            (n,) dose meanwhile in e/A^2, if it is known.
        """
        far = np.abs(step) > 0.5
        return DiffusionSums(
            self.steps + len(step),
            self.time_s + float(time_s.sum()),
            self.pairs + int(np.count_nonzero(paired)),
            self.changes + int(np.count_nonzero(far[:, 0] | far[:, 1])),
            self.dosed + (0 if dose is None else len(step)),
            self.dose + (0.0 if dose is None else float(dose.sum())),
            self.squares + summed_forms(step, step),
            self.products + summed_forms(before[paired], step[paired]),
        )


@dataclass(frozen=True)
class Hops:
    """Hops a displacement along each line, and what their error depends on.

    Attributes
    ----------
    rates, squares
        (3,) estimates R_k dt, and the means of Q_k.
    steps, pairs
        How many displacements, and pairs of them, stand behind.
    jump
        1 where displacements are hops of one lattice constant (their rarity adds Poisson noise), 0
        for Brownian motion.
    """

    rates: np.ndarray
    squares: np.ndarray
    steps: int
    pairs: int
    jump: float = 1.0

    def variance(self, weights: np.ndarray) -> tuple[float, float, float]:
        """Variance of the sum of weights_k R_k as a polynomial in the common scale of the rates.

        The rates that are varied are those with a weight; the result (c0, c1, c2) is that of
        ``c0 + c1 x + c2 x^2`` with x the weighted sum, for weights of 0 and 1.

        Gaussian displacements have, per pair, 4 tr(MCMC) + 2 tr(MSMS), M the form, C the covariance
        of true displacements, S that of measured ones (eq. 17 of Vestergaard et al. in several
        dimensions, their noise being (S - C) / 2); hops of length one add their fourth cumulant,
        x per step.
        """
        form = np.tensordot(weights, FORMS, 1) ** 2
        rates, squares = np.maximum(self.rates, 0.0), np.maximum(self.squares, 0.0)
        varied = weights > 0
        moving = np.where(varied, rates, 0.0)
        # Without any hop along them, the varied lines are taken as alike.
        shape = moving / moving.sum() if moving.sum() > 0 else varied / varied.sum()
        rest = np.where(varied, 0.0, rates)
        noise = 2 * float(squares @ form @ squares)
        return (
            (noise + 4 * float(rest @ form @ rest)) / self.pairs,
            self.jump / self.steps + 8 * float(shape @ form @ rest) / self.pairs,
            4 * float(shape @ form @ shape) / self.pairs,
        )

    def covariance(self) -> np.ndarray:
        """Covariance (3, 3) of the rates, at the rates that were found."""
        rates, squares = np.maximum(self.rates, 0.0), np.maximum(self.squares, 0.0)
        return gaussian_part(rates, squares) / self.pairs + np.diag(self.jump * rates) / self.steps

    def told(self, weights: np.ndarray, credible: float) -> tuple[float, float, float, float]:
        """Sum of weights_k R_k, its standard error, and the ends of its interval (Wilson's).

        The interval holds every x >= 0 from which the estimate lies no further than z standard
        errors *as they would be at x*: near none it is Poisson's, for many hops normal. Its upper
        end is infinite where too few pairs bound it.
        """
        value = float(weights @ self.rates)
        c0, c1, c2 = self.variance(weights)
        at = max(value, 0.0)
        error = float(np.sqrt(max(c0 + c1 * at + c2 * at**2, 0.0)))
        z2 = intervals.normal_factor(credible) ** 2
        a, b, c = 1.0 - z2 * c2, 2.0 * value + z2 * c1, value**2 - z2 * c0
        root = float(np.sqrt(max(b**2 - 4 * a * c, 0.0)))
        if a <= 0:
            return value, error, 0.0, float("inf")
        low, high = (b - root) / (2 * a), (b + root) / (2 * a)
        return value, error, max(low, 0.0), max(high, 0.0)


def gaussian_part(rates: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Matrix of 4 tr(M_k C M_l C) + 2 tr(M_k S M_l S), (3, 3), for C, S of these line sums."""
    weights = 4 * np.outer(rates, rates) + 2 * np.outer(squares, squares)
    return np.asarray(np.einsum("kab,lab,ab->kl", FORMS, FORMS, weights))


def hop_rates(sums: DiffusionSums, jump: float = 1.0) -> Hops:
    """Rates a displacement from the sums; needs at least one pair."""
    squares = sums.squares / sums.steps
    return Hops(squares + 2 * sums.products / sums.pairs, squares, sums.steps, sums.pairs, jump)


def told_as(value: tuple[float, float, float, float], scale: float) -> dict[str, float | None]:
    """JSON-able value, standard error and interval, all times `scale`; no end where none bounds."""
    names = ("value", "standard_error", "low", "high")
    return {n: v * scale if np.isfinite(v) else None for n, v in zip(names, value, strict=True)}
