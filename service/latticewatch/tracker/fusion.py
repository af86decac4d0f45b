"""Vacancies as all frames so far tell them, in the place of those that this frame alone told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from latticewatch.detections import PATCH_SIZE, Detections
from latticewatch.vacancies import (
    SUBLATTICE,
    Vacancies,
    best_threshold,
    lacking_shares,
    lost_shares,
)
from latticewatch_models.crystal import Crystal

from .anchor import ALIKE, Alignment
from .dopants import Columns
from .series import Series
from .site_filter import HOP_CHANCES, SiteFilter, mean_chance, observe_sites
from .site_grid import SiteGrid
from .species import Readings


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
    foretold
        (1 + k, m) what the earlier frames alone say of them: probability of each amount, then of an
        odd column.
    """

    amounts: np.ndarray
    fused: np.ndarray
    bare: np.ndarray
    expected: float | None = None
    columns: Columns | None = None
    foretold: np.ndarray | None = None

    def take(self, index: np.ndarray) -> Told:
        """Return the chosen detections."""
        return replace(
            self, amounts=self.amounts[index], fused=self.fused[index], bare=self.bare[index]
        )


@lru_cache(maxsize=16)
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
    known, lacking, before = observe_sites(known, frame, cells, seen.ratio, seen.odd, seen.shares)
    probability = lacking.sum(axis=1)
    least = best_threshold(probability) if threshold is None else threshold
    grid = SiteGrid.of(cells, SUBLATTICE, 1)
    site = grid.find(*alignment.sites(detections.cells, detections.sublattice))
    merged, site, bare = _merged(detections, seen, site, probability, least)
    fused = site >= 0
    told = np.where(fused[:, None], lacking[site], 0.0)
    columns = Columns(grid, seen.ratio)
    return known, merged, Told(told, fused, bare, float(probability.sum()), columns, before)


def _merged(
    detections: Detections,
    seen: Vacancies,
    site: np.ndarray,
    probability: np.ndarray,
    least: float,
) -> tuple[Detections, np.ndarray, np.ndarray]:
    """Put the filter's vacancies in place; also the judged column of each row, and which are bare.

    `site` (n,) is the judged column of each detection; a row on no judged column has -1.
    """
    judged = (site >= 0) & ~seen.bright[site]
    chosen = (probability >= least) & ~seen.bright
    kept = np.flatnonzero(~judged | chosen[site])
    site = np.where(judged, site, -1)
    chosen[site[judged]] = False
    alone, n = np.flatnonzero(chosen), len(detections)
    site = np.concatenate([site[kept], alone])
    source = np.concatenate([kept, np.arange(n, n + len(alone))])
    values = np.append(detections.probability, np.zeros(len(alone)))[source]
    values = np.where(site >= 0, probability[site], values)
    sure = np.argsort(-values, kind="stable")
    source, site = source[sure], site[sure]
    bare, rows = source >= n, {"probability": values[sure]}
    for name, added in _described(seen, alone).items():
        rows[name] = np.concatenate([getattr(detections, name), added]).take(source, axis=0)
    displaced = detections.displaced
    if displaced is not None:
        displaced = displaced.take(np.where(bare, -1, source))
    return replace(detections, **rows, displaced=displaced), site, bare


def _described(seen: Vacancies, site: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of vacancies that the frame's analysis did not describe: place and column alone."""
    n = len(site)
    x, y = seen.points[site].T
    return {
        "x_px": x,
        "y_px": y,
        "cells": seen.cells[site].astype(np.int32),
        "sublattice": np.full(n, SUBLATTICE, np.int8),
        "centre": seen.intensity[site].astype(np.float32),
        "neighbours": np.ones((n, 3), np.float32),
        "patches": np.zeros((n, PATCH_SIZE, PATCH_SIZE), np.float32),
        "turns": np.zeros(n, np.int8),
        "in_hole": np.zeros(n, bool),
    }


def named(
    told: Told, table: Readings, species: np.ndarray, posterior: np.ndarray, crystal: Crystal
) -> tuple[np.ndarray, np.ndarray]:
    """Species and posterior over readings, those of fused detections by the filter.

    The species is the likelier amount; that nothing is missing at all is what ``probability`` says.
    """
    if not told.fused.any():
        return species, posterior
    entry = _entries(crystal)
    undisturbed = int(np.flatnonzero(table.host & (table.sublattice == SUBLATTICE))[0])
    fused, amounts = told.fused, told.amounts[told.fused]
    rows = np.zeros((len(amounts), posterior.shape[1]))
    rows[:, 1 + entry] = amounts
    rows[:, 1 + undisturbed] = 1.0 - amounts.sum(axis=1)
    species, posterior = species.copy(), posterior.copy()
    posterior[fused] = rows
    species[fused] = table.code[entry[amounts.argmax(axis=1)]]
    return species, posterior


@lru_cache(maxsize=16)
def _entries(crystal: Crystal) -> np.ndarray:
    """Which of the crystal's readings lacks each amount."""
    lost = lost_shares(crystal)
    return np.array([lost.index(amount) for amount in amounts_of(crystal)])


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
