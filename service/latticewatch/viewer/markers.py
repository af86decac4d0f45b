"""Outlines of the palette's markers: species differ by shape as well as by colour."""

from __future__ import annotations

import math

import numpy as np

#: Corners of the outlines that are regular polygons, and the turn of the first, degrees clockwise
#: from +x, for x to the right and y down.
_POLYGONS = {
    "o": (24, 0.0),
    "h": (6, 0.0),
    "s": (4, 45.0),
    "^": (3, -90.0),
    "v": (3, 90.0),
    "D": (4, 0.0),
}

_CROSS = {
    "x": ((-0.7, -0.7), (0.7, 0.7), (0.0, 0.0), (-0.7, 0.7), (0.7, -0.7)),
    "P": ((-1.0, 0.0), (1.0, 0.0), (0.0, 0.0), (0.0, -1.0), (0.0, 1.0)),
}


def outline(marker: str) -> np.ndarray:
    """Return the (n, 2) line of a marker of radius 1 around (0, 0); KeyError for an unknown one."""
    if marker in _CROSS:
        return np.array(_CROSS[marker], np.float32)
    corners, turn = _POLYGONS[marker]
    angles = np.radians(turn) + 2 * math.pi / corners * np.arange(corners + 1)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)


OUTLINES = {marker: outline(marker) for marker in (*_POLYGONS, *_CROSS)}
