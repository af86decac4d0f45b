"""The original's density clustering with window variance, kept for comparison: it is biased.

Maksov et al., npj Comput. Mater. 5, 12 (2019) took the detections inside windows of +-25 pixels at
the densest places and D = (var x + var y) / (4 N dt) over N frames. No detection is linked to
another, so

- for one Brownian walker over N frames the expectation is D (N^2 - 1) / (6 N^2), six times low:
  the variance within a path of length T is a sixth of 4 D T;
- for detections scattered evenly over a window of side w it is w^2 / (24 N dt), whatever moves.

Here the windows tile the session's lattice instead of being chosen by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaincinv

from .links import site_places
from .tracks import blocks, picked

#: Side of a window in lattice constants: 50 pixels of the original at its 10.5 px a constant.
SIDE = 50.0 / 10.5
#: Windows remembered. The original's frame of 512 px has 121 in sight; where drift brings in more,
#: or a field is larger, those that were not seen for longest are forgotten.
MAX_WINDOWS = 256
#: Windows that are told: as many as the original chose.
TOLD = 2
#: Detections below which a window has no variance worth telling.
LEAST = 3

WHY = (
    "variance of detections that are not linked: reads six times low for free diffusion, and much "
    "the same for detections scattered at random; use `free` or `all`"
)

#: One window: its number along x and y, when it first and last held a vacancy, sums over
#: detections of the position relative to its corner, in lattice constants.
WINDOW = np.dtype(
    [
        ("at", "<i4", (2,)),
        ("first_frame", "<i8"),
        ("last_frame", "<i8"),
        ("first_time", "<f8"),
        ("last_time", "<f8"),
        ("n", "<i8"),
        ("sums", "<f8", (2,)),
        ("squares", "<f8", (2,)),
    ]
)

#: One vacancy on its site of the session's lattice.
VACANCY = np.dtype(
    [("frame", "<i8"), ("time", "<f8"), ("cell", "<i4", (2,)), ("sublattice", "<i4")]
)
#: Vacancies that wait to be folded into their windows together. Of 200 a frame that takes 0.05 ms a
#: frame in the mean, and 0.13 if none wait.
BATCH = 1024

#: Key of no window.
NO_WINDOW = np.iinfo(np.int64).max

WindowArray = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Windows:
    """Windows of the session's lattice, and the newest vacancies, which are not in them yet.

    Attributes
    ----------
    held
        Structured array (`WINDOW`).
    waiting
        Structured array (`VACANCY`) of fewer than `BATCH`, the oldest first.
    """

    held: WindowArray
    waiting: np.ndarray

    @classmethod
    def empty(cls) -> Windows:
        """No vacancy yet."""
        return cls(np.zeros(0, WINDOW), np.zeros(0, VACANCY))

    def add(self, cells: np.ndarray, sublattice: np.ndarray, frame: int, time_s: float) -> Windows:
        """Take in the vacancies of one frame: cells (n, 2) and sublattice (n,)."""
        fresh = np.empty(len(cells), VACANCY)
        fresh["frame"], fresh["time"] = frame, time_s
        fresh["cell"], fresh["sublattice"] = cells, sublattice
        waiting = np.concatenate([blocks(self.waiting), blocks(fresh)]).view(VACANCY)
        if len(waiting) < BATCH:
            return Windows(self.held, waiting)
        return Windows(_folded(self.held, waiting), waiting[:0])

    def all(self) -> WindowArray:
        """Windows with all vacancies in them."""
        return _folded(self.held, self.waiting)


def _folded(windows: WindowArray, vacancies: np.ndarray) -> WindowArray:
    """Fold vacancies, the oldest first, into their windows."""
    if not len(vacancies):
        return windows
    places = site_places(vacancies["cell"], vacancies["sublattice"])
    at = np.floor(places / SIDE)
    inside = places - at * SIDE
    keys, known = _keys(at), np.append(_keys(windows["at"]), NO_WINDOW)
    order = np.argsort(known)
    row = order[np.searchsorted(known, keys, sorter=order)]
    new = (known[row] != keys).nonzero()[0]
    fresh = np.unique(keys[new])
    row[new] = len(windows) + np.searchsorted(fresh, keys[new])
    merged = np.concatenate([windows, np.zeros(len(fresh), WINDOW)])
    merged["at"][row[new]] = at[new]
    # what is written last stays
    merged["first_frame"][row[new[::-1]]] = vacancies["frame"][new[::-1]]
    merged["first_time"][row[new[::-1]]] = vacancies["time"][new[::-1]]
    merged["last_frame"][row], merged["last_time"][row] = vacancies["frame"], vacancies["time"]
    n = len(merged)
    merged["n"] += np.bincount(row, minlength=n)
    for axis in range(2):
        here = inside[:, axis]
        merged["sums"][:, axis] += np.bincount(row, here, n)
        merged["squares"][:, axis] += np.bincount(row, here**2, n)
    if n > MAX_WINDOWS:
        newest = np.lexsort((merged["n"], merged["last_frame"]))[-MAX_WINDOWS:]
        newest.sort()
        merged = picked(merged, newest)
    return merged


def _keys(at: np.ndarray) -> np.ndarray:
    """One int64 a window."""
    i, j = at[:, 0].astype(np.int64), at[:, 1].astype(np.int64)
    return np.asarray((i << 32) + j)


def summary(windows: WindowArray, constant_nm: float, credible: float) -> dict[str, object]:
    """JSON-able coefficient of the densest windows by the original's formula, marked as biased.

    The interval is what the formula's own assumption gives (detections independent and normal: a
    chi-square with two degrees of freedom a detection); it does not hold the bias.
    """
    usable = ((windows["n"] >= LEAST) & (windows["last_time"] > windows["first_time"])).nonzero()[0]
    # Equal counts go to the window that was there first.
    order = usable[np.argsort(-windows["n"][usable], kind="stable")][:TOLD]
    return {
        "biased": True,
        "why": WHY,
        "window_nm": SIDE * constant_nm,
        "windows": [_window(windows[k], constant_nm, credible) for k in order],
    }


def _window(window: Any, constant_nm: float, credible: float) -> dict[str, object]:
    n, frames = int(window["n"]), int(window["last_frame"] - window["first_frame"]) + 1
    mean = window["sums"] / n
    spread = float((window["squares"] / n - mean**2).sum()) * constant_nm**2
    dt = float(window["last_time"] - window["first_time"]) / (frames - 1)
    value = spread / (4 * frames * dt)
    tail = (1.0 - credible) / 2.0
    low, high = (n - 1) / gammaincinv(n - 1.0, np.array([1.0 - tail, tail])) * value
    middle = (window["at"] + 0.5) * SIDE * constant_nm
    return {
        "centre_nm": [float(v) for v in middle],
        "detections": n,
        "frames": frames,
        "D_nm2_s": {"value": value, "low": float(low), "high": float(high)},
    }
