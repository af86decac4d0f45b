"""A frame as the host's stages leave it, and the same on a device for the stages after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from latticewatch_kernels.columns import column_profile
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.deviations import TAIL_SIGMA
from latticewatch_kernels.harmonics import Harmonics
from latticewatch_kernels.labelling import Labels, label
from latticewatch_kernels.lattice import Lattice
from latticewatch_kernels.order import OrderMap, _mean_above_empty, local_order
from latticewatch_kernels.periodic import leaked, rebuilt, window_px
from latticewatch_kernels.registration import registered
from latticewatch_kernels.resident import facts as slots
from latticewatch_kernels.resident.facts import PLACE, Facts
from latticewatch_kernels.resident.parts import LabelsAbove, OrderAbove, PixelsAbove
from latticewatch_kernels.resident.plan import Plan, Room

from .guarded import above


def filled(known: Mapping[str, Any]) -> np.ndarray:
    """Facts of which these are known, by name."""
    made = np.zeros(slots.NUMBER)
    for name, numbers in known.items():
        flat = np.ravel(np.asarray(numbers, float))
        made[PLACE[name] : PLACE[name] + len(flat)] = flat
    return made


@dataclass
class Staged:
    """Everything that the host knows of a frame."""

    image: np.ndarray
    lattice: Lattice
    harmonics: Harmonics
    order: OrderMap
    labels: Labels
    facts: dict[str, np.ndarray]

    @classmethod
    def of(cls, frame: np.ndarray) -> Staged:
        image = condition(frame)
        lattice, harmonics = registered(image)
        order = local_order(image, lattice, harmonics)
        labels = label(image, lattice, harmonics=harmonics)
        sigma, height = column_profile(harmonics, lattice)
        cells = lattice.covering_cells(image.shape)
        window = window_px(lattice, image.shape)
        columns, noise = labels.columns, labels.noise
        facts = {
            "statistics": (image.mean(dtype=np.float64), image.std(dtype=np.float64)),
            "reciprocal": np.linalg.inv(lattice.matrix), "significance": lattice.significance,
            "vectors": (*lattice.a1, *lattice.a2), "origin": lattice.origin,
            "heights": lattice.heights, "constant": lattice.constant,
            "first_cell": cells[0, 0], "cells": cells.shape[:2],
            "above_empty": _mean_above_empty(lattice, harmonics), "sigma": sigma,
            "height": height, "window": window, "leak": leaked(lattice, sigma, window),
            "factor": 1.0, "holes": order.hole.sum(),
            "line": (noise.slope, noise.base, noise.least), "unit": columns.unit,
            "crosstalk": columns.crosstalk, "host": columns.host, "offset": columns.offset,
            "noise_by_site": columns.noise_by_site, "noise": columns.noise,
        }  # fmt: skip
        return cls(image, lattice, harmonics, order, labels, facts)

    def values(self, *without: str) -> np.ndarray:
        """Facts, but for those that a stage is to find itself."""
        return filled({name: self.facts[name] for name in self.facts if name not in without})

    def plan(self, room: Room | None = None) -> Plan:
        facts = Facts(self.values())
        return Plan.of(self.image.shape, facts, TAIL_SIGMA, room or Room())

    def order_above(self, double) -> OrderAbove:
        order = self.order
        maps = np.stack([order.amplitude, order.level, order.mean, *order.displacement])
        masks = (above(double, m.astype(np.int8)) for m in (order.crystalline, order.hole))
        return OrderAbove(above(double, maps.astype(np.float32)), *masks)

    def pixels_above(self, double) -> PixelsAbove:
        periodic, residual, hole = rebuilt(self.image, self.lattice, self.order)
        parts = (residual, periodic, hole.astype(np.int8))
        return PixelsAbove(*(above(double, np.ascontiguousarray(part)) for part in parts))

    def labels_above(self, double) -> LabelsAbove:
        found = self.labels
        shifts = np.append(found.row_shifts.shift, found.row_shifts.jitter_px)
        maps = (found.image, found.periodic, found.residual, found.matched, found.z)
        masks = (found.bright, found.dark, found.hole)
        return LabelsAbove(
            *(above(double, np.ascontiguousarray(m)) for m in maps),
            *(above(double, m.astype(np.int8)) for m in masks),
            above(double, shifts),
        )
