"""The observer who knows contamination by its statistics alone, for the chalcogen sites.

Like the ideal observer (`judging.limit`) he knows the crystal, the probe, the noise, the film, the
shift of every scan line and every other defect. Of the contamination he knows its mean and its
covariance, not how high it stands here: its patches are noise to him, correlated over nanometres,
and so is its grain. The best linear detector in such noise is Hotelling's, ``s^T K^-1 (g - m)``
with the covariance K of all noise, electrons and contamination (Barrett and Myers, Foundations of
Image Science, ch. 13 (2004)).

The noise of the electrons and of the grain goes with the contamination's height, so he estimates it
first, by the same equations, and takes the noise that belongs to the estimate: Hotelling's observer
with the average covariance would take dense patches for as quiet as clean crystal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.special import j0

from judging.counting import SPECIES
from judging.frames import CRYSTAL, Condition, judged
from judging.limit import Limit, limit_of, shares, told_sites
from latticewatch_models.contamination import CLEAN_BELOW, WAVELENGTHS_NM
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.imaging import render_columns
from latticewatch_models.microscope import GRAIN_WIDTH, SimulatedFrame
from latticewatch_models.settings import ImagingConfig

#: The sublattice that is looked at, and half the side of a site's window in lattice constants.
SITE, _REACH = 1, 1.5

#: The covariance wraps round this far beyond the frame, pixels; farther correlations tell a site
#: nothing.
_RIM = 128

#: Conjugate gradients stop when what is left is this part of the start, both squared and weighed by
#: the preconditioner; within so many steps.
_LEFT, _STEPS = 1e-5, 50

#: Sites whose information is computed together stand this many lattice constants apart, so that
#: they do not meet; and sets of them to a frame, from which the others' follows by a line.
_APART, _SETS = 5.0, 2


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of contamination in electrons, stationary; on the frame with its rim.

    Attributes
    ----------
    mean
        Electrons to a pixel.
    patches, grain
        Spectra of the covariance of the patches, and of the grain of unit patches.
    """

    mean: float
    patches: np.ndarray
    grain: np.ndarray


def statistics(imaging: ImagingConfig, shape: tuple[int, int]) -> Statistics:
    """Give the simulator's contamination by its first two moments.

    The patches are ``max(w - c, 0)`` of a sum of plane waves of unit variance, which is nearly a
    normal variable; waves of all directions and of wavelengths L have the covariance
    ``<J0(2 pi r / L)>``.
    """
    unit = imaging.dose_e_per_pixel * imaging.collected_share * imaging.contamination
    rows, columns = (fft.next_fast_len(side + _RIM, real=True) for side in shape)
    y, x = (np.minimum(np.arange(n), n - np.arange(n)) for n in (rows, columns))
    distance = np.hypot(y[:, None], x)
    reach = np.arange(0.0, distance.max() + 1.0)
    length = np.linspace(*WAVELENGTHS_NM, 200)
    waves = j0(2.0 * np.pi * reach[:, None] * imaging.pixel_size_nm / length).mean(axis=1)
    level, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()
    first = np.maximum(level - CLEAN_BELOW, 0.0)
    # the second variable is rho times the first and a rest of its own
    rest = np.sqrt(np.maximum(1.0 - waves**2, 0.0))
    second = waves[:, None, None] * level[:, None] + rest[:, None, None] * level
    product = np.maximum(second - CLEAN_BELOW, 0.0) @ weight @ (weight * first)
    mean = float(first @ weight)
    sigma = GRAIN_WIDTH * imaging.probe.core_sigma_px
    texture = imaging.amorphous**2 * np.exp(-(distance**2) / (4.0 * sigma**2))
    covariance = np.interp(distance, reach, unit**2 * (product - mean**2))
    spectra = (
        np.maximum(fft.rfft2(part).real, 0.0).astype(np.float32) for part in (covariance, texture)
    )
    return Statistics(unit * mean, *spectra)


class _Noise:
    """Covariance of a frame's noise as an operator: electrons, patches and grain.

    Parameters
    ----------
    variance
        (rows, columns) of the electrons in each pixel.
    height
        (rows, columns) of the contamination, electrons, which the grain goes with.
    known
        Statistics of the contamination.
    """

    def __init__(self, variance: np.ndarray, height: np.ndarray, known: Statistics) -> None:
        self._variance, self._height = variance.astype(np.float32), height.astype(np.float32)
        self._known = known
        self._wide = known.patches.shape[0], 2 * (known.patches.shape[1] - 1)
        total = known.patches + float((height**2).mean()) * known.grain
        self._inverse = (1.0 / (total + 1.0 / float((1.0 / variance).mean()))).astype(np.float32)

    def _filtered(self, image: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
        rows, columns = image.shape
        wave = fft.rfft2(image, self._wide) * spectrum
        return np.asarray(fft.irfft2(wave, self._wide)[:rows, :columns])

    def patches(self, image: np.ndarray) -> np.ndarray:
        """Apply the patches' covariance."""
        return self._filtered(image, self._known.patches)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Apply the whole covariance."""
        grain = self._height * self._filtered(self._height * image, self._known.grain)
        return self._variance * image + self.patches(image) + grain

    def solve(self, image: np.ndarray) -> np.ndarray:
        """Apply its inverse, by conjugate gradients preconditioned by that of even noise."""
        left = image.astype(np.float32)
        result = np.zeros_like(left)
        near = self._filtered(left, self._inverse)
        direction, product = near, float((left * near).sum())
        least = _LEFT * product
        for _ in range(_STEPS):
            if product <= least:
                break
            applied = self(direction)
            step = product / float((direction * applied).sum())
            result += step * direction
            left -= step * applied
            near = self._filtered(left, self._inverse)
            before, product = product, float((left * near).sum())
            direction = near + product / before * direction
        return result


def statistical_on(
    frames: Sequence[SimulatedFrame], clean: Sequence[SimulatedFrame], condition: Condition
) -> Limit:
    """Let this observer look at the chalcogen sites of frames.

    Parameters
    ----------
    frames, clean
        The frames, and the same without contamination (`frames.acquire`), whose expected electrons
        are what he knows.
    condition
        How they were acquired.

    Returns
    -------
    Limit
        Of the species on these sites; the others' figures mean nothing.
    """
    imaging = condition.imaging(rotation_deg=0.0)
    known = statistics(imaging, (frames[0].image.shape[0], frames[0].image.shape[1]))
    pairs = zip(frames, clean, strict=True)
    parts = [_look(frame, bare, imaging, known) for frame, bare in pairs]
    mass, posterior = (np.concatenate(one) for one in zip(*parts, strict=True))
    return limit_of(mass, posterior)


def _look(
    frame: SimulatedFrame, bare: SimulatedFrame, imaging: ImagingConfig, known: Statistics
) -> tuple[np.ndarray, np.ndarray]:
    """Mass and posterior, as `limit_of` wants them, of a frame's chalcogen sites."""
    detector, crystal = imaging.detector, CRYSTALS[CRYSTAL]
    extra = (detector.read_noise / detector.gain) ** 2
    crystal_mean = bare.expected.astype(float)
    residual = (frame.image.astype(float) - detector.offset) / detector.gain - crystal_mean
    residual -= known.mean
    points, species = told_sites(judged(frame.truth), SITE)
    columns = list(_columns(frame, points, imaging))
    here = [r for r in crystal.readings if r.sublattice == SITE]
    host = crystal.host_intensity(SITE)
    change = np.array([0.0, *(crystal.reading_intensity(r) - host for r in here)])
    names = ["", *(r.species for r in here)]
    present = np.array([change[names.index(name)] for name in species])
    # he asks whether it is the host: the noise must not tell him that it is not
    sound = crystal_mean + extra
    for (window, column), more in zip(columns, present, strict=True):
        sound[window] -= more * column
    height = np.full(residual.shape, known.mean)
    for _ in range(2):  # with the average noise, and with that of the height then estimated
        noise = _Noise(sound + height, height, known)
        weighed = noise.solve(residual)
        height = np.maximum(known.mean + noise.patches(weighed), 0.0)
    response = np.array([(column * weighed[window]).sum() for window, column in columns])
    apart = _APART * frame.truth.lattice.constant
    information = _information(columns, points, species, noise, sound + height, apart)
    # what is there stands in the mean that was taken off: put it back, as he asks against the host
    response += present * information
    prior = np.array([shares(r) for r in here])
    log = np.outer(response, change) - 0.5 * np.outer(information, change**2)
    log += np.log(np.array([1.0 - prior.sum(), *prior]))
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    posterior = np.zeros((len(log), len(SPECIES)))
    for k, reading in enumerate(here):
        posterior[:, SPECIES.index(reading.species)] += weight[:, 1 + k]
    return (species[:, None] == np.array(["", *SPECIES])).astype(float), posterior


_Window = tuple[tuple[slice, slice], np.ndarray]


def _columns(
    frame: SimulatedFrame, points: np.ndarray, imaging: ImagingConfig
) -> Iterator[_Window]:
    """Window of each site and the electrons of a column of unit intensity in it."""
    unit = imaging.electrons_per_unit(CRYSTALS[CRYSTAL])
    reach = int(np.ceil(_REACH * frame.truth.lattice.constant))
    for point in points:
        middle = np.rint(point).astype(int)
        low = np.maximum(middle - reach, 0)
        high = np.minimum(middle + reach + 1, np.array(frame.image.shape[::-1]))
        window = slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
        shape = int(high[1] - low[1]), int(high[0] - low[0])
        shift = frame.row_shift_px[window[0]]
        yield (
            window,
            unit * render_columns(shape, (point - low)[None], np.ones(1), imaging.probe, shift),
        )


def _information(
    columns: list[_Window],
    points: np.ndarray,
    species: np.ndarray,
    noise: _Noise,
    variance: np.ndarray,
    apart: float,
) -> np.ndarray:
    """``s^T K^-1 s`` of every site.

    Computed for sets of sites that stand apart, all defects among them; the others follow from what
    they would have in the electrons' noise alone, times the mean ratio of the two.
    """
    plain = np.array([(column**2 / variance[window]).sum() for window, column in columns])
    order = np.random.default_rng(0).permutation(len(points))
    order = order[np.argsort(species[order] == "", kind="stable")]
    exact = np.full(len(points), np.nan)
    sets = 0
    while sets < _SETS or (species[order] != "").any():
        sets += 1
        chosen: list[int] = []
        for k in order:
            gap = np.hypot(*(points[chosen] - points[k]).T) if chosen else np.array([np.inf])
            if gap.min() > apart:
                chosen.append(int(k))
        order = np.setdiff1d(order, chosen, assume_unique=True)
        image = np.zeros(variance.shape)
        for k in chosen:
            image[columns[k][0]] += columns[k][1]
        solved = noise.solve(image)
        for k in chosen:
            exact[k] = (columns[k][1] * solved[columns[k][0]]).sum()
    return np.where(np.isnan(exact), plain * np.nanmean(exact / plain), exact)
