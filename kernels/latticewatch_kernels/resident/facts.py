"""The numbers of one frame that its stages on a device hand on: float64, in slots by name.

`cuda/facts.cuh` gives CUDA C the same slots; a test holds the two against each other. Lengths are
in pixels and heights in units of the image where nothing else is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np

from latticewatch_kernels.lattice import Array, Lattice
from latticewatch_kernels.launch import zeros


class Refusal(IntEnum):
    """Why a frame went no further: the first reason stays, later stages compute with anything."""

    NONE = 0
    FEW_PEAKS = 1
    NOT_HEXAGONAL = 2
    NO_HARMONIC = 3
    TOO_SMALL = 4
    NO_SITE = 6
    #: A buffer of the plan was too small: the frame is run again with more room.
    NO_ROOM = 5


#: Slots by name, in order, and how many numbers each holds.
SLOTS = {
    # Which refusal; where it was `NO_ROOM`, nothing else is to be believed.
    "refusal": 1,
    # Mean and standard deviation of the image.
    "statistics": 2,
    # Bragg peaks that stood out of the noise.
    "peaks": 1,
    # Rows (gx, gy), cycles per pixel, as `bragg.BraggPeaks.reciprocal`.
    "reciprocal": 4,
    # `lattice.Lattice.significance`.
    "significance": 1,
    # Number of harmonics, and `harmonics.Harmonics.noise`.
    "harmonics": 1,
    "harmonic_noise": 1,
    # `lattice.Lattice`: a1 (x, y), a2 (x, y), origin (x, y), heights, constant.
    "vectors": 4,
    "origin": 2,
    "heights": 3,
    "constant": 1,
    # First cell (i, j) and number of cells along each that `lattice.Lattice.covering_cells` gives.
    "first_cell": 2,
    "cells": 2,
    # `order._mean_above_empty`.
    "above_empty": 1,
    # `columns.column_profile`: width and height of the host column.
    "sigma": 1,
    "height": 1,
    # `periodic.window_px` and `periodic.leaked`.
    "window": 1,
    "leak": 1,
    # What the frame is scaled by for the network; 1 where it is not.
    "factor": 1,
    # Number of cells of the map of order that lie in holes.
    "holes": 1,
    # Amplitude that is missing to disorder and to holes, in cells of that map (`phases`).
    "missing": 2,
    # `noise.NoiseLine` of the residual and of the matched residual: slope, base, least.
    "line": 3,
    "matched_line": 3,
    # `columns.ColumnMap`.
    "unit": 1,
    "crosstalk": 1,
    "host": 3,
    "offset": 3,
    "noise_by_site": 3,
    "noise": 1,
    # Sites that are judged (`deviations.SitesInView`), and where each sublattice of them begins.
    "sites": 1,
    "starts": 3,
    # Detections of the network, and those that are reported.
    "found": 1,
    "reported": 1,
    # `vacancies.Vacancies.shares`, four at most, and the threshold that was taken.
    "shares": 4,
    "threshold": 1,
    # Judged columns that no hole is near.
    "clear": 1,
}

#: First slot of each name.
PLACE: dict[str, int] = dict(zip(SLOTS, np.cumsum([0, *SLOTS.values()]).tolist(), strict=False))

#: Numbers in all, rounded up so that what lies behind them is aligned.
NUMBER = -(-sum(SLOTS.values()) // 16) * 16


def blank(like: Array) -> Array:
    """Give the facts of a frame of which nothing is known, float64 (NUMBER,) beside ``like``."""
    return zeros(like, (NUMBER,), np.float64)


def slots_of(facts: Array, name: str) -> Array:
    """Give the slots of a name on the device, which a kernel reads or fills."""
    return facts[PLACE[name] : PLACE[name] + SLOTS[name]]


@dataclass(frozen=True)
class Facts:
    """Facts that came to the host, float64 (NUMBER,), which stay what they are."""

    values: np.ndarray

    def __getitem__(self, name: str) -> np.ndarray:
        """Numbers of a name, (n,)."""
        return self.values[PLACE[name] : PLACE[name] + SLOTS[name]]

    @cached_property
    def _plain(self) -> list[float]:
        """All numbers as Python's, which are read faster one by one."""
        return list(self.values.tolist())

    def number(self, name: str) -> float:
        """Give a name's number, the first where it has several."""
        return self._plain[PLACE[name]]

    def numbers(self, *names: str) -> list[float]:
        """Numbers of several names, one after the other."""
        plain = self._plain
        return [
            number for name in names for number in plain[PLACE[name] : PLACE[name] + SLOTS[name]]
        ]

    @cached_property
    def refusal(self) -> Refusal:
        """Why the frame was refused, if it was."""
        return Refusal(int(self.number("refusal")))

    @property
    def lattice(self) -> Lattice:
        """The frame's lattice."""
        names = "vectors", "origin", "heights", "significance"
        ax, ay, bx, by, x, y, first, second, third, significance = self.numbers(*names)
        return Lattice((ax, ay), (bx, by), (x, y), (first, second, third), significance)


def header() -> str:
    """Text of `cuda/facts.cuh`."""
    lines = ["/* Slots of a frame's facts, as in resident/facts.py, which says what they hold. */"]
    lines += ["", "#ifndef FACTS", "#define FACTS", "", "enum Fact {"]
    lines += [f"    FACT_{name.upper()} = {place}," for name, place in PLACE.items()]
    lines += ["};", "", "enum Refusal {"]
    lines += [f"    REFUSAL_{refusal.name} = {refusal.value}," for refusal in Refusal]
    lines += ["};", ""]
    lines += ["/* Refuse a frame, unless it was before; one thread. */"]
    lines += ["__device__ static inline void refuse(double *facts, int reason)", "{"]
    lines += ["    if (facts[FACT_REFUSAL] == 0.0)", "        facts[FACT_REFUSAL] = reason;", "}"]
    lines += ["", "/* A whole number from 0 to most, whatever the slot holds. */"]
    lines += ["__device__ static inline int counted(const double *facts, int slot, int most)", "{"]
    lines += ["    double number = facts[slot];"]
    lines += ["    return number >= 0.0 ? (int)min(number, (double)most) : 0;", "}"]
    lines += ["", "#endif"]
    return "\n".join(lines) + "\n"
