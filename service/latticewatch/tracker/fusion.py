"""Vacancies as all frames so far tell them, in the place of those that this frame alone told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from latticewatch.detections import Detections
from latticewatch.vacancies import (
    SUBLATTICE,
    Vacancies,
    best_threshold,
    lacking_shares,
    lost_shares,
)
from latticewatch_models.crystal import Crystal

from .anchor import ALIKE, Alignment, site_keys
from .dopants import Columns
from .series import Series
from .site_filter import HOP_CHANCES, SiteFilter, mean_chance, observe_sites
from .species import Readings

#: Fields of `Detections` with one row a detection.
_ROWS = (
    "x_px", "y_px", "probability", "cells", "sublattice", "centre", "neighbours", "patches",
    "turns", "in_hole",
)  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What the fusion says of each of n detections.

    Attributes
    ----------
    amounts
        (n, k) probability that the column lacks each amount; 0 where ``fused`` is false.
    fused
        bool (n,): a judged column, told by all frames.
    bare
        bool (n,): told by earlier frames; this frame alone had not reported it, and so has no
        description of it (neighbours, patch, class).
    expected
        Sum of the probabilities over all judged columns: how many vacancies there are.
    columns
        What this frame alone says of the judged columns; None where it judged none.
    """

    amounts: np.ndarray
    fused: np.ndarray
    bare: np.ndarray
    expected: float | None = None
    columns: Columns | None = None

    def take(self, index: np.ndarray) -> Told:
        """Return the chosen detections."""
        return replace(
            self, amounts=self.amounts[index], fused=self.fused[index], bare=self.bare[index]
        )


def amounts_of(crystal: Crystal) -> tuple[float, ...]:
    """Shares of a column that the filter looks for; none where the sublattices are alike."""
    return lacking_shares(crystal) if crystal.host_intensity(SUBLATTICE) < ALIKE else ()


def fuse(
    known: SiteFilter,
    frame: int,
    detections: Detections,
    alignment: Alignment,
    crystal: Crystal,
    threshold: float | None,
) -> tuple[SiteFilter, Detections, Told]:
    """Fold a frame's columns into the filter, and report what it then says.

    A detection on a judged column stays if the filter still takes it for a vacancy, and has the
    filter's probability; a vacancy that the frame alone did not show joins in. Detections on other
    sites, and on columns that are brighter than their host, are left as they are.

    Parameters
    ----------
    known
        The filter after the frame before.
    frame, detections, alignment
        The frame's number and content, and how its gauge maps to the session's.
    crystal
        The specimen.
    threshold
        Least probability that is reported; None for what makes the expected F1 greatest.
    """
    seen, n, amounts = detections.vacancies, len(detections), len(amounts_of(crystal))
    if alignment.lost:
        known = SiteFilter.empty(amounts)
    if seen is None or not len(seen.cells) or not amounts or seen.ratio.shape[1] != amounts:
        none = np.zeros(n, bool)
        return known, detections, Told(np.zeros((n, amounts)), none, none)
    cells, _ = alignment.sites(seen.cells, np.full(len(seen.cells), SUBLATTICE))
    known, lacking = observe_sites(known, frame, cells, seen.ratio, seen.odd, seen.shares)
    probability = lacking.sum(axis=1)
    least = best_threshold(probability) if threshold is None else threshold
    merged, site, bare = _merged(detections, seen, probability, least)
    fused = site >= 0
    told = np.where(fused[:, None], lacking[site], 0.0)
    columns = Columns.of(site_keys(cells, SUBLATTICE), seen.ratio)
    return known, merged, Told(told, fused, bare, float(probability.sum()), columns)


def _merged(
    detections: Detections, seen: Vacancies, probability: np.ndarray, least: float
) -> tuple[Detections, np.ndarray, np.ndarray]:
    """Put the filter's vacancies in place; also the judged column of each row, and which are bare.

    Cells are the frame's own on both sides; a row on no judged column has -1.
    """
    site = seen.find(detections.cells, detections.sublattice)
    site[(site >= 0) & seen.bright[site]] = -1
    chosen = (probability >= least) & ~seen.bright
    kept = np.flatnonzero((site < 0) | chosen[site])
    chosen[site[site >= 0]] = False
    alone = np.flatnonzero(chosen)
    added = _described(detections, seen, alone)
    rows = {name: np.concatenate([getattr(detections, name)[kept], added[name]]) for name in _ROWS}
    site = np.concatenate([site[kept], alone])
    rows["probability"] = np.where(site >= 0, probability[site], rows["probability"])
    sure = np.argsort(-rows["probability"], kind="stable")
    bare = np.arange(len(site)) >= len(kept)
    ordered: dict[str, Any] = {name: values[sure] for name, values in rows.items()}
    if detections.displaced is not None:
        source = np.concatenate([kept, np.full(len(alone), -1)])
        ordered["displaced"] = detections.displaced.take(source[sure])
    return replace(detections, **ordered), site[sure], bare[sure]


def _described(detections: Detections, seen: Vacancies, site: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of vacancies that the frame's analysis did not describe: place and column alone."""
    like = {name: getattr(detections, name) for name in _ROWS}
    blank = {name: np.zeros((len(site), *a.shape[1:]), a.dtype) for name, a in like.items()}
    return blank | {
        "x_px": seen.points[site, 0],
        "y_px": seen.points[site, 1],
        "cells": seen.cells[site].astype(np.int32),
        "sublattice": np.full(len(site), SUBLATTICE, np.int8),
        "centre": seen.intensity[site].astype(np.float32),
        "neighbours": np.ones((len(site), 3), np.float32),
    }


def named(
    told: Told, table: Readings, species: np.ndarray, posterior: np.ndarray, crystal: Crystal
) -> tuple[np.ndarray, np.ndarray]:
    """Species and posterior over readings, those of fused detections by the filter.

    The species is the likelier amount; that nothing is missing at all is what ``probability`` says.
    """
    if not told.fused.any():
        return species, posterior
    lost = lost_shares(crystal)
    entry = np.array([lost.index(amount) for amount in amounts_of(crystal)])
    undisturbed = int(np.flatnonzero(table.host & (table.sublattice == SUBLATTICE))[0])
    fused = told.fused
    rows = np.zeros((int(fused.sum()), posterior.shape[1]))
    rows[:, 1 + entry] = told.amounts[fused]
    rows[:, 1 + undisturbed] = 1.0 - told.amounts[fused].sum(axis=1)
    species, posterior = species.copy(), posterior.copy()
    posterior[fused] = rows
    species[fused] = table.code[entry[told.amounts[fused].argmax(axis=1)]]
    return species, posterior


def summary(known: SiteFilter, vacancies: Series, credible: float) -> dict[str, object]:
    """JSON-able: how many vacancies there are, and how often one moves.

    The interval of the chance is that of the posterior over `HOP_CHANCES`, linear between them.
    """
    weight = known.hop_posterior
    cumulative = np.cumsum(weight) - 0.5 * weight
    tail = (1.0 - credible) / 2.0
    low, high = np.interp([tail, 1.0 - tail], cumulative, HOP_CHANCES)
    seen = known.frame >= 0
    return {
        "expected_vacancies": vacancies.summary(0, credible),
        "hop_chance_per_frame": {
            "value": mean_chance(known, HOP_CHANCES) if seen else None,
            "low": float(low) if seen else None,
            "high": float(high) if seen else None,
        },
    }
