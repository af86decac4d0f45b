"""Figures of the states of the dopants: matrices, graph, dwell times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from latticewatch.report.keys import Matrix

#: Chances below this are not drawn in the graph; they stand in the matrix.
_LEAST_SHOWN = 0.005


def matrices(found: Sequence[Matrix]) -> Figure:
    """Draw chances of the next frame's state with their intervals."""
    figure = Figure(figsize=(5.4 * len(found), 5.0), layout="constrained")
    for ax, one in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        ax.imshow(one.value, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.ndindex(one.value.shape):
            text = f"{_chance(float(one.value[i, j]))}\n{one.low[i, j]:.3f} to {one.high[i, j]:.3f}"
            colour = "white" if one.value[i, j] > 0.55 else "black"
            ax.text(j, i, text, ha="center", va="center", fontsize=7.5, color=colour)
        ax.set_xticks(range(len(one.states)), one.states, rotation=20)
        ax.set_yticks(range(len(one.states)), one.states)
        ax.set(xlabel="state in the next frame", ylabel="state", title=one.name)
    return figure


def graph_and_dwell(one: Matrix) -> Figure:
    """Draw the states as a graph, arrows as wide as their chance, and the mean stays (frames)."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    n = len(one.states)
    angles = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    places = np.column_stack([np.cos(angles), np.sin(angles)])
    for i, j in np.ndindex(n, n):
        if i != j and one.value[i, j] >= _LEAST_SHOWN:
            _arrow(left, places[i], places[j], float(one.value[i, j]))
    for i, place in enumerate(places):
        text = f"{one.states[i]}\nstays {_chance(float(one.value[i, i]))}"
        box = {"boxstyle": "round", "fc": "#dcebf7", "ec": "#0072B2"}
        left.text(*place, text, ha="center", va="center", fontsize=8.5, bbox=box)
    left.set(xlim=(-1.6, 1.6), ylim=(-1.4, 1.4), title=f"chances per frame, {one.name}")
    left.set_axis_off()
    for at, (_, stay) in enumerate(one.dwell):
        right.plot([at, at], [stay.low, stay.high], "-", color="#0072B2", lw=2)
        right.plot([at], [stay.value], "o", color="#0072B2")
    right.set_xticks(range(len(one.dwell)), [state for state, _ in one.dwell], rotation=20)
    right.set(ylabel="mean stay (frames)", title="dwell times", yscale="log")
    return figure


def _chance(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "not known"


def _arrow(ax: Any, start: np.ndarray, end: np.ndarray, chance: float) -> None:
    """Draw a bent arrow, so that both ways can be told apart, with its chance at a third."""
    style = {"arrowstyle": "-|>", "lw": 0.6 + 12 * chance, "color": "#555555"}
    style |= {"connectionstyle": "arc3,rad=0.16", "shrinkA": 24, "shrinkB": 28}
    ax.annotate("", tuple(end), tuple(start), arrowprops=style)
    along = end - start
    aside = np.array([along[1], -along[0]]) * 0.10
    at = start + 0.36 * along + aside
    box = {"fc": "white", "ec": "none", "pad": 0.4}
    ax.text(*at, f"{chance:.3f}", fontsize=7.5, ha="center", va="center", bbox=box)
