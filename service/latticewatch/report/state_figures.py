"""Figures of the states of the dopants: matrices, graph, dwell times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from latticewatch.report.parts import WIDTH
from latticewatch.report.values import Matrix

#: Chances below this are not drawn in the graph; they stand in the matrix.
_LEAST_SHOWN = 0.005

#: Letters inside the cells and on the arrows, points: the smallest that print well.
_SMALL = 7

_COLOURS, _MARKERS = ("#0072B2", "#E69F00"), ("o", "s")


def matrices(found: Sequence[Matrix]) -> Figure:
    """Draw chances of the next frame's state with their intervals."""
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    for ax, one in zip(figure.subplots(1, 2, squeeze=False)[0], found, strict=False):
        ax.imshow(one.value, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.ndindex(one.value.shape):
            ends = f"{_share(float(one.low[i, j]))} to\n{_share(float(one.high[i, j]))}"
            colour = "white" if one.value[i, j] > 0.55 else "black"
            text = f"{_chance(float(one.value[i, j]))}\n{ends}"
            ax.text(j, i, text, ha="center", va="center", fontsize=_SMALL, color=colour)
        ax.set_xticks(range(len(one.states)), one.states, rotation=25)
        ax.set_yticks(range(len(one.states)), one.states)
        ax.set(xlabel="state in the next frame", ylabel="state", title=one.name)
    for ax in figure.axes[len(found) :]:
        ax.remove()
    return figure


def graph_and_dwell(found: Sequence[Matrix]) -> Figure:
    """Draw the first matrix as a graph, arrows as wide as their chance, and mean stays of all."""
    one = found[0]
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
    n = len(one.states)
    angles = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    places = np.column_stack([np.cos(angles), np.sin(angles)])
    for i, j in np.ndindex(n, n):
        if i != j and one.value[i, j] >= _LEAST_SHOWN:
            _arrow(left, places[i], places[j], float(one.value[i, j]))
    for i, place in enumerate(places):
        text = f"{one.states[i]}\nstays {_chance(float(one.value[i, i]))}"
        box = {"boxstyle": "round", "fc": "#dcebf7", "ec": "#0072B2"}
        left.text(*place, text, ha="center", va="center", fontsize=8, bbox=box, zorder=6)
    left.set(xlim=(-1.5, 1.5), ylim=(-1.35, 1.35), title=f"chances per frame, {one.name}")
    left.set_axis_off()
    for number, matrix in enumerate(found):
        shift = 0.2 * (number - (len(found) - 1) / 2)
        for at, (_, stay) in enumerate(matrix.dwell):
            colour = _COLOURS[number % 2]
            right.plot([at + shift] * 2, [stay.low, stay.high], "-", color=colour, lw=2)
            label = matrix.name if at == 0 else None
            right.plot(at + shift, stay.value, _MARKERS[number % 2], color=colour, label=label)
    right.set_xticks(range(len(one.dwell)), [state for state, _ in one.dwell], rotation=25)
    right.set(ylabel="mean stay (frames)", title="dwell times", yscale="log")
    _plain_log(right.yaxis)
    if right.get_legend_handles_labels()[0]:
        right.legend(frameon=False)
    return figure


def _plain_log(axis: Any) -> None:
    """Ticks at 1, 2, 5, 10, ... in plain numbers: a power of ten alone tells no reader much."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_formatter(NullFormatter())


def _chance(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "not known"


def _share(value: float) -> str:
    """Three digits after the point, without the nought before it: room is scarce in a cell."""
    return f"{value:.3f}".removeprefix("0") if np.isfinite(value) else "?"


def _arrow(ax: Any, start: np.ndarray, end: np.ndarray, chance: float) -> None:
    """Draw a bent arrow, so that both ways can be told apart, with its chance near its start."""
    style = {"arrowstyle": "-|>", "lw": 0.6 + 10 * chance, "color": "#777777"}
    style |= {"connectionstyle": "arc3,rad=0.16", "shrinkA": 24, "shrinkB": 26}
    ax.annotate("", tuple(end), tuple(start), arrowprops=style)
    along = end - start
    aside = np.array([along[1], -along[0]]) * 0.10
    at = start + 0.3 * along + aside
    box = {"fc": "white", "ec": "none", "pad": 0.4}
    text = f"{chance:.3f}"
    ax.text(*at, text, fontsize=_SMALL, ha="center", va="center", bbox=box, zorder=5)
