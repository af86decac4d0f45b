"""Mean displacement fields and displacement modes of the dopants, with their errors.

All is linear algebra on `crystallography.DisplacementSums`: principal components come from exact
sums of products and are those of a batch computation. Errors are a jackknife over groups of tracks
(Busing, Meijer and van der Leeden, Stat. Comput. 9, 3 (1999), for groups of unequal size).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.special import stdtrit

from latticewatch.detections import PATCH_SIZE
from latticewatch_models.crystal import Crystal

from .crystallography import COLUMNS, VECTOR, DisplacementSums

#: Modes that are published, as in Maksov et al. (2019).
MODES = 2

#: Fewer looks than this, or groups of tracks than that, tell no modes and no errors.
LEAST_LOOKS, LEAST_GROUPS = 30, 4

#: Least share of looks, by belief, at a state for its field to be told apart from the others'.
LEAST_BELIEF = 0.01

Plain = dict[str, object]


@dataclass(frozen=True)
class Pooled:
    """Sums over tracks: first over all, then with each group left out; b of them.

    Attributes
    ----------
    number, total, squares, noise
        (b,), (b, 14), (b, 14, 14) each; noise of the vector, the mean displacement taken out.
    share
        (b - 1,), the left-out group's share of the looks.
    """

    number: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    noise: np.ndarray
    share: np.ndarray


@lru_cache(maxsize=3)
def turned_by(turns: int) -> np.ndarray:
    """Matrix (14, 14) that turns a vector, neighbours included, by so many times -120 degrees."""
    angle = -2.0 * np.pi * turns / 3.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    columns = np.eye(COLUMNS)
    columns[1:] = np.roll(columns[1:], -2 * turns, axis=0)
    return np.kron(columns, turn)


@lru_cache(maxsize=1)
def _less_mean() -> np.ndarray:
    """Matrix (14, 14) that takes the mean displacement off a vector."""
    return np.kron(np.eye(COLUMNS) - 1.0 / COLUMNS, np.eye(2))


def left_out(values: np.ndarray) -> np.ndarray:
    """Sum over the first axis, then the sums without each entry, (1 + g, ...)."""
    whole = values.sum(axis=0, keepdims=True)
    return np.asarray(np.concatenate([whole, whole - values]))


def pooled(sums: DisplacementSums, states: tuple[int, ...], turns: tuple[int, ...]) -> Pooled:
    """Add states up, each turned; groups without a look are dropped."""
    filled = sums.number[:, list(states)].sum(axis=1) > 0
    number = sums.number[filled][:, list(states)].sum(axis=1)
    total, squares, noise = 0.0, 0.0, 0.0
    for state, turn in zip(states, turns, strict=True):
        matrix = turned_by(turn)
        total = total + sums.total[filled, state] @ matrix.T
        squares = squares + matrix @ sums.squares[filled, state] @ matrix.T
        matrix = _less_mean() @ matrix
        noise = noise + matrix @ _spread_out(sums.noise[filled, state]) @ matrix.T
    parts = [left_out(np.asarray(part)) for part in (number, total, squares, noise)]
    return Pooled(parts[0], parts[1], parts[2], parts[3], number / max(number.sum(), 1))


def _spread_out(noise: np.ndarray) -> np.ndarray:
    """Covariances (g, 7, 2, 2) of columns as those of the vector, (g, 14, 14)."""
    wide = np.einsum("gkij,kl->gkilj", noise, np.eye(COLUMNS))
    return np.asarray(wide.reshape(-1, VECTOR, VECTOR))


def jackknife(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Tell the standard error (...) of values (1 + g, ...): of all, and without each group."""
    h = 1.0 / share.reshape(-1, *[1] * (values.ndim - 1))
    pseudo = h * values[0] - (h - 1.0) * values[1:]
    return np.asarray(np.sqrt(np.mean((pseudo - pseudo.mean(axis=0)) ** 2 / (h - 1.0), axis=0)))


def covariances(sums: Pooled) -> np.ndarray:
    """Covariance of the vector (b, 14, 14), its noise included; divided by the number less one."""
    number = sums.number[:, None, None]
    mean = sums.total / sums.number[:, None]
    return np.asarray(
        (sums.squares - number * mean[:, :, None] * mean[:, None, :]) / np.maximum(number - 1, 1)
    )


def principal(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances (b, k) and directions (b, k, 14) of the first modes, greatest first.

    Signs follow the first of the b.
    """
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[:, : -MODES - 1 : -1], vectors[:, :, : -MODES - 1 : -1].swapaxes(1, 2)
    largest = np.abs(vectors[0]).argmax(axis=1)
    vectors = vectors * np.sign(vectors[0, np.arange(MODES), largest])[:, None]
    sign = np.sign(np.einsum("bkv,kv->bk", vectors, vectors[0]))
    return values, vectors * np.where(sign == 0.0, 1.0, sign)[:, :, None]


def state_fields(sums: DisplacementSums) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean vector (b, s, 14) of every state by the beliefs, and the groups' shares (b - 1,).

    A look counts for every state as far as it is believed to be in it: the mean vector is linear in
    the states' probabilities, and least squares over all looks gives those of pure states, as far
    as these probabilities hold. None while some state was hardly ever believed in.
    """
    filled = sums.number.sum(axis=1) > 0
    share = sums.number[filled].sum(axis=1) / max(int(sums.number.sum()), 1)
    normal, right = left_out(sums.beliefs[filled]), left_out(sums.weighted[filled])
    if filled.sum() < LEAST_GROUPS:
        return None
    if (np.linalg.eigvalsh(normal)[:, 0] < LEAST_BELIEF * normal.sum(axis=(1, 2))).any():
        return None
    return np.linalg.solve(normal, right), share


def _field(vectors: np.ndarray, share: np.ndarray) -> Plain:
    """Displacements (7, 2) and their standard errors; ``vectors`` (b, 14)."""
    error = jackknife(vectors, share).reshape(COLUMNS, 2)
    return {"mean_pm": _listed(vectors[0].reshape(COLUMNS, 2)), "error_pm": _listed(error)}


def _off_centre(vectors: np.ndarray, share: np.ndarray, credible: float) -> Plain:
    """Where the dopant stands among its six neighbours, with intervals; ``vectors`` (b, 14)."""
    fields = vectors.reshape(-1, COLUMNS, 2)
    place = fields[:, 0] - fields[:, 1:].mean(axis=1)
    error = jackknife(place, share)
    reach = stdtrit(len(share) - 1, 0.5 + 0.5 * credible) * error
    return {
        name: {
            "value": float(place[0, axis]),
            "error": float(error[axis]),
            "low": float(place[0, axis] - reach[axis]),
            "high": float(place[0, axis] + reach[axis]),
        }
        for axis, name in enumerate(("across_pm", "toward_pm"))
    }


def _modes(sums: Pooled) -> Plain:
    """First modes of what is left of the covariance without noise, and the plain spectrum."""
    whole = covariances(sums)
    noise = sums.noise / sums.number[:, None, None]
    values, vectors = principal(whole - noise)
    size = np.sqrt(np.maximum(values, 0.0))
    fields = vectors * size[:, :, None]
    errors = (jackknife(part, sums.share) for part in (values, size, fields))
    variance_error, size_error, field_error = errors
    spectrum = np.linalg.eigvalsh(whole[0])[::-1]
    modes = [
        {
            "variance_pm2": float(values[0, k]),
            "variance_error_pm2": float(variance_error[k]),
            "amplitude_pm": float(size[0, k]),
            "amplitude_error_pm": float(size_error[k]),
            "noise_pm2": float(vectors[0, k] @ noise[0] @ vectors[0, k]),
            "field_pm": _listed(fields[0, k].reshape(COLUMNS, 2)),
            "field_error_pm": _listed(field_error[k].reshape(COLUMNS, 2)),
        }
        for k in range(MODES)
    ]
    return {"spectrum_pm2": _listed(spectrum), "modes": modes}


def _listed(values: np.ndarray) -> object:
    return np.round(values, 3).tolist()


def mean_image(sums: DisplacementSums, states: tuple[int, ...]) -> list[list[float]] | None:
    """Mean of the patches of some states, each turned to its own direction; None without any."""
    number = int(sums.image_number[list(states)].sum())
    if not number:
        return None
    parts = sums.image[list(states)].sum(axis=0)
    total = parts[0] + parts[1] @ _image_turn(1) + parts[2] @ _image_turn(2)
    return list(np.round(total / number, 4).reshape(PATCH_SIZE, PATCH_SIZE).tolist())


@lru_cache(maxsize=2)
def _image_turn(turns: int) -> np.ndarray:
    """Matrix that a flat image times is the image turned, by cubic splines.

    A place p then shows what stood at p turned by so many times 120 degrees; beyond the patch, in
    its corners, its edge value is repeated.
    """
    angle, middle = 2.0 * np.pi * turns / 3.0, 0.5 * (PATCH_SIZE - 1)
    step = np.arange(PATCH_SIZE) - middle
    x, y = np.meshgrid(step, step)
    column = np.cos(angle) * x - np.sin(angle) * y + middle
    row = np.sin(angle) * x + np.cos(angle) * y + middle
    units = np.eye(PATCH_SIZE**2).reshape(-1, PATCH_SIZE, PATCH_SIZE)
    turned = [map_coordinates(unit, [row, column], order=3, mode="nearest") for unit in units]
    return np.stack(turned).reshape(PATCH_SIZE**2, -1)


def summary(sums: DisplacementSums, crystal: Crystal, credible: float) -> Plain | None:
    """JSON-able fields and modes of the dopants; None for a crystal without dopant.

    ``told`` counts every look to the state that it was told to be in, ``believed`` to every state
    as far as it was believed to be in it.
    """
    if not crystal.states:
        return None
    bound = f"{crystal.dopant}+{crystal.vacancy}"
    kinds = {
        "all": ((0, 1, 2, 3), (0, 0, 0, 0)),
        crystal.dopant: ((0,), (0,)),
        bound: ((1, 2, 3), (0, 1, 2)),
    }
    told = {name: _told(pooled(sums, *chosen), credible) for name, chosen in kinds.items()}
    groups = {crystal.dopant: (0,), bound: (1, 2, 3)}
    groups.update({state: (k,) for k, state in enumerate(crystal.states)})
    images = {name: mean_image(sums, states) for name, states in groups.items()}
    return {"told": told, "believed": _believed(sums, crystal, credible), "images": images}


def _believed(sums: DisplacementSums, crystal: Crystal, credible: float) -> Plain | None:
    """Fields of every state, turned, and the mean of those with a vacancy."""
    fields = state_fields(sums)
    if fields is None:
        return None
    vectors, share = fields
    turned = {
        name: vectors[:, k] @ turned_by(max(k - 1, 0)).T for k, name in enumerate(crystal.states)
    }
    held = [turned[name] for name in crystal.states[1:]]
    turned[f"{crystal.dopant}+{crystal.vacancy}"] = np.mean(held, axis=0)
    return {
        name: _field(field, share) | _off_centre(field, share, credible)
        for name, field in turned.items()
    }


def _told(part: Pooled, credible: float) -> Plain:
    looks, groups = int(part.number[0]), len(part.share)
    known: Plain = {"looks": looks, "groups": groups}
    if looks < LEAST_LOOKS or groups < LEAST_GROUPS:
        return known
    mean = part.total / part.number[:, None]
    centred = _off_centre(mean, part.share, credible)
    return known | _field(mean, part.share) | centred | _modes(part)
