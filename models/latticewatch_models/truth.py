"""What is true of one simulated frame, and how it is written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from latticewatch_kernels.lattice import Lattice

#: Columns of the table of defects and their types.
COLUMNS: dict[str, Any] = {
    "ident": np.int64,
    "species": np.str_,
    "state": np.str_,
    "cell_i": np.int32,
    "cell_j": np.int32,
    "sublattice": np.int8,
    "x_px": np.float64,
    "y_px": np.float64,
}


class Transition(NamedTuple):
    """A dopant that stands in another state than in the frame before."""

    frame: int
    ident: int
    before: str
    after: str


class Hop(NamedTuple):
    """A single vacancy that stands on another site than in the frame before.

    ``di, dj`` are the cells moved, ``bound`` says whether it is beside a dopant now.
    """

    frame: int
    ident: int
    di: int
    dj: int
    bound: bool


@dataclass(frozen=True)
class Truth:
    """The true content of a frame; n defects lie inside it.

    Attributes
    ----------
    frame, time_s, shape
        Number, start of the acquisition, (rows, columns).
    lattice
        True lattice of this frame as acquired. Its origin is cell (0, 0) of the movie's own
        numbering: the column nearest to the centre in frame 0, which drifts with the specimen.
    ident, species, state, cell_i, cell_j, sublattice, x_px, y_px
        (n,) each. ``ident`` and the cell stay the same through the movie while the defect stands.
        A vacancy bound to a dopant is told by the dopant's state and has no row.
    fractions
        (3,): crystalline, disordered and hole area fraction. Every column stands for half a cell;
        disordered are those of patches without order, a hole's are those that are lost.
    hole_points, hole_radius_px
        (m, 2): lost columns and the empty sites among them; a hole is the union of discs around
        these points.
    transitions, hops
        What changed since the frame before, of defects in this frame.
    """

    frame: int
    time_s: float
    shape: tuple[int, int]
    lattice: Lattice
    ident: np.ndarray
    species: np.ndarray
    state: np.ndarray
    cell_i: np.ndarray
    cell_j: np.ndarray
    sublattice: np.ndarray
    x_px: np.ndarray
    y_px: np.ndarray
    fractions: np.ndarray
    hole_points: np.ndarray
    hole_radius_px: float
    transitions: tuple[Transition, ...] = ()
    hops: tuple[Hop, ...] = ()

    def __len__(self) -> int:
        return len(self.ident)

    @property
    def points(self) -> np.ndarray:
        """Positions (n, 2) in pixels."""
        return np.stack([self.x_px, self.y_px], axis=-1)

    def hole_mask(self, margin_px: float = 0.0) -> np.ndarray:
        """Boolean mask of the holes, grown by ``margin_px``; shape (rows, columns)."""
        return disc_mask(self.shape, self.hole_points, self.hole_radius_px + margin_px)

    def in_hole(self, points: np.ndarray, margin_px: float = 0.0) -> np.ndarray:
        """Whether points (m, 2) lie in a hole or within ``margin_px`` of one; bool (m,)."""
        points = np.asarray(points, float).reshape(-1, 2)
        if not len(self.hole_points) or not len(points):
            return np.zeros(len(points), bool)
        gap = points[:, None] - self.hole_points[None]
        nearest = np.hypot(gap[..., 0], gap[..., 1]).min(axis=1)
        return np.asarray(nearest <= self.hole_radius_px + margin_px)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, fit for JSON."""
        lattice = self.lattice
        return {
            "frame": self.frame,
            "time_s": self.time_s,
            "shape": list(self.shape),
            "lattice": {
                "a1": list(lattice.a1),
                "a2": list(lattice.a2),
                "origin": list(lattice.origin),
                "heights": list(lattice.heights),
            },
            **{name: getattr(self, name).tolist() for name in COLUMNS},
            "fractions": self.fractions.tolist(),
            "hole_points": self.hole_points.tolist(),
            "hole_radius_px": self.hole_radius_px,
            "transitions": [list(change) for change in self.transitions],
            "hops": [list(hop) for hop in self.hops],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Truth:
        """Read back what `to_dict` wrote; raises KeyError for a missing field."""
        lattice: dict[str, Any] = {key: tuple(v) for key, v in data["lattice"].items()}
        rows, columns = data["shape"]
        return cls(
            frame=int(data["frame"]),
            time_s=float(data["time_s"]),
            shape=(int(rows), int(columns)),
            lattice=Lattice(**lattice),
            **{name: np.asarray(data[name], dtype) for name, dtype in COLUMNS.items()},
            fractions=np.asarray(data["fractions"], float),
            hole_points=np.asarray(data["hole_points"], float).reshape(-1, 2),
            hole_radius_px=float(data["hole_radius_px"]),
            transitions=tuple(Transition(*change) for change in data["transitions"]),
            hops=tuple(Hop(*hop) for hop in data["hops"]),
        )


def disc_mask(shape: tuple[int, int], points: np.ndarray, radius_px: float) -> np.ndarray:
    """Union of discs around points (m, 2) of (x, y), bool ``shape``."""
    mask = np.zeros(shape, bool)
    reach = int(np.ceil(radius_px))
    for x, y in np.asarray(points, float).reshape(-1, 2):
        top, left = max(0, int(y) - reach), max(0, int(x) - reach)
        bottom, right = min(shape[0], int(y) + reach + 2), min(shape[1], int(x) + reach + 2)
        if top >= bottom or left >= right:
            continue
        rows, columns = np.ogrid[top:bottom, left:right]
        mask[top:bottom, left:right] |= (columns - x) ** 2 + (rows - y) ** 2 <= radius_px**2
    return mask
