"""Complex amplitudes of an image at the nodes of a reciprocal lattice, and its refinement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from latticewatch_kernels.lattice import Array, Lattice

#: Highest frequency looked at, cycles per pixel: harmonics beyond it are aliased or hidden by noise
#: for every lattice constant served.
HIGHEST_FREQUENCY = 0.48

#: Hexagonal shells of nodes that are looked at: (1,0), (1,1), (2,0), (2,1): 15 of 30 nodes.
SHELLS = 4

#: Newton steps of the refinement; each takes the error to about its square.
REFINEMENTS = 2


@dataclass(frozen=True)
class Harmonics:
    """Amplitudes of an image at nodes of a reciprocal lattice, one of each +-g pair.

    Attributes
    ----------
    indices
        (n, 2) int, node = indices @ reciprocal.
    nodes
        (n, 2) in cycles per pixel.
    amplitudes
        (n,) complex: the image holds ``2 Re(A exp(2 pi i g.r))`` with r in pixels from the first
        pixel's centre.
    noise
        Standard deviation of an amplitude's real or imaginary part that white noise of the image's
        own variance would give (an upper bound of the true one).
    """

    indices: np.ndarray
    nodes: np.ndarray
    amplitudes: np.ndarray
    noise: float

    def nodes_in(self, lattice: Lattice) -> np.ndarray:
        """Return the nodes (n, 2) as indices to the reciprocal vectors of ``lattice``."""
        return np.asarray(np.rint(self.nodes @ lattice.matrix))


def node_indices(
    reciprocal: np.ndarray, shells: int = SHELLS, highest: float = HIGHEST_FREQUENCY
) -> np.ndarray:
    """Return indices (n, 2) of the nodes of the first shells: one of each pair, shortest first.

    Those that reach the highest frequency along an axis are left out.
    """
    span = np.arange(-4, 5)
    indices = np.stack(np.meshgrid(span, span), -1).reshape(-1, 2)
    # Shells of the perfect lattice: |g|^2 = h^2 + h k + k^2 for vectors 60 degrees apart.
    shell = (indices**2).sum(1) + np.sign(reciprocal[0] @ reciprocal[1]) * indices.prod(1)
    half = (indices[:, 0] > 0) | ((indices[:, 0] == 0) & (indices[:, 1] > 0))
    first = np.unique(shell[shell > 0])[:shells]
    keep = half & np.isin(shell, first)
    indices, shell = indices[keep], shell[keep]
    nodes = indices @ reciprocal
    inside = np.abs(nodes).max(1) < highest
    return np.asarray(indices[inside][np.argsort(shell[inside], kind="stable")])


def measure_harmonics(image: Array, reciprocal: np.ndarray) -> Harmonics:
    """Amplitudes of the Hann-windowed image at the nodes of the first shells."""
    indices = node_indices(reciprocal)
    nodes = indices @ reciprocal
    rows, columns = image.shape
    (folded,) = _folded(image, _waves(rows, nodes[:, 1])[:1])
    right, _ = _waves(columns, nodes[:, 0])
    noise = amplitude_noise(float(image.std()), image.shape)
    return Harmonics(indices, nodes, (folded * right).sum(1), noise)


def amplitude_noise(spread: float, shape: tuple[int, ...]) -> float:
    """Tell the standard deviation of an amplitude's parts by that of the image's pixels."""
    # sum of w^2 / (sum of w)^2 is 1.5 / n for a Hann window, along each axis
    return float(spread * 1.5 / np.sqrt(2.0 * shape[0] * shape[1]))


def refine_and_measure(
    images: Sequence[Array], reciprocal: np.ndarray
) -> tuple[np.ndarray, Harmonics]:
    """Refine a reciprocal lattice on each image in turn, and measure the harmonics of the last."""
    for image in images:
        reciprocal = fit_reciprocal(image, reciprocal)
    return reciprocal, measure_harmonics(images[-1], reciprocal)


def fit_reciprocal(image: Array, reciprocal: np.ndarray) -> np.ndarray:
    """Refine a reciprocal lattice by the phase gradients of all its harmonics.

    If the image holds ``A exp(2 pi i (g + d).r)``, the first moment of the windowed image at g is
    ``2 pi i A <r r> d``: one Newton step towards the maximum of the windowed periodogram. Harmonics
    are weighted by their power, as least squares demands.

    Parameters
    ----------
    image
        (rows, columns).
    reciprocal
        (2, 2) rows (gx, gy) in cycles per pixel, right to about half a bin at the outermost node.

    Returns
    -------
    ndarray
        (2, 2), same form.
    """
    rows, columns = image.shape
    spread = np.array([hann_variance(columns), hann_variance(rows)])
    for _ in range(REFINEMENTS):
        indices = node_indices(reciprocal)
        value, along_x, along_y = _moments(image, indices @ reciprocal)
        power = np.abs(value) ** 2
        gradient = np.stack([along_x, along_y], 1) / value[:, None]
        shift = gradient.imag / (2.0 * np.pi * spread)
        # A node without a peak has a random gradient; none may pull by more than a bin.
        bins = np.array([1.0 / columns, 1.0 / rows])
        shift = np.clip(shift, -bins, bins)
        weighted = indices.T * power
        reciprocal = reciprocal + np.linalg.solve(weighted @ indices, weighted @ shift)
    return reciprocal


@lru_cache(maxsize=16)
def hann_variance(size: int) -> float:
    """Variance of the place under a Hann window of ``size`` pixels."""
    window = _hann(size)
    place = np.arange(size) - 0.5 * (size - 1)
    return float((window * place**2).sum() / window.sum())


def _hann(size: int) -> np.ndarray:
    """Hann window without its zeros at the ends."""
    return np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2


def unit_window(size: int) -> np.ndarray:
    """Hann window of sum 1."""
    window = _hann(size)
    window /= window.sum()
    return window


def _moments(image: Array, nodes: np.ndarray) -> np.ndarray:
    """(3, n) complex: amplitude, and its first moments in x and y about the frame's centre."""
    rows, columns = image.shape
    right, right_moment = _waves(columns, nodes[:, 0])
    plain, in_y = _folded(image, _waves(rows, nodes[:, 1]))
    return np.stack([(plain * right).sum(1), (plain * right_moment).sum(1), (in_y * right).sum(1)])


def _folded(image: np.ndarray, waves: tuple[np.ndarray, ...]) -> np.ndarray:
    """Products of m sets of waves (n, rows) with the image less its mean, complex (m, n, columns).

    Thin matrix products, rows first, instead of a Fourier transform that knows whole bins only.
    """
    stacked = np.concatenate(waves)
    parts = np.concatenate([stacked.real, stacked.imag]).astype(np.float32)
    product = (parts @ image.astype(np.float32, copy=False)).astype(float)
    folded = product[: len(stacked)] + 1j * product[len(stacked) :]
    folded -= float(image.mean()) * stacked.sum(1)[:, None]
    return np.asarray(folded.reshape(len(waves), -1, folded.shape[1]))


def _waves(size: int, frequency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalised window times exp(-2 pi i f r), and the same times the place from the centre."""
    place = np.arange(size)
    wave = unit_window(size) * np.exp(-2j * np.pi * frequency[:, None] * place)
    return wave, wave * (place - 0.5 * (size - 1))
