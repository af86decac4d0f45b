"""Pictures of the accuracy bench."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np

from judging.counting import SPECIES, species_curve
from judging.limit import Limit
from judging.measure import Result
from judging.peers import Outcome
from judging.positions import by_phase, phase

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

#: Okabe and Ito's colours, told apart by the colour-blind too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

Results = Mapping[float, Result]
Peers = Mapping[str, Mapping[float, Outcome]]


def by_dose(results: Results, limits: Mapping[float, Limit], peers: Peers, path: Path) -> None:
    """F1 by species and over all beside the limit, and beside the peers."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    doses = list(results)
    for species, colour in zip(SPECIES, COLOURS, strict=False):
        ours = [results[d].sure.named_f1(species) for d in doses]
        left.semilogx(doses, ours, "o-", color=colour, ms=4, label=species)
        left.semilogx(doses, [limits[d].named_f1[species] for d in doses], "--", color=colour, lw=1)
    left.set(title="F1 by species; dashed: ideal observer", xlabel="dose (electrons a pixel)")
    right.semilogx(doses, [limits[d].f1 for d in doses], "k--", lw=1, label="ideal observer")
    right.semilogx(doses, [results[d].sure.f1() for d in doses], "o-", ms=4, label="latticewatch")
    for (name, outcomes), colour in zip(peers.items(), COLOURS[1:], strict=False):
        f1 = [outcomes[d].tally.f1() for d in doses]
        right.semilogx(doses, f1, "s-", color=colour, ms=4, label=name)
    right.set(title="F1 over all defects, names aside", xlabel="dose (electrons a pixel)")
    for axes in (left, right):
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    _save(figure, path)


def curves(result: Result, limit: Limit, peers: Peers, path: Path) -> None:
    """Precision against recall at one dose: all defects, and single sulphur vacancies."""
    dose = result.condition.dose
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    left.plot(*limit.curve, "k--", lw=1, label="ideal observer")
    left.plot(*result.overall_curve(), color=COLOURS[0], label="latticewatch")
    sure = result.sure
    left.plot(sure.recall(), sure.precision(), "o", color=COLOURS[0], label="at its threshold")
    for (name, outcomes), colour in zip(peers.items(), COLOURS[1:], strict=False):
        tally = outcomes[dose].tally
        left.plot(tally.recall(), tally.precision(), "s", color=colour, label=name)
    left.set_title(f"all defects, {dose:g} electrons a pixel")
    for species, colour in (("VS", COLOURS[2]), ("VS2", COLOURS[3])):
        right.plot(*limit.species_curves[species], "--", color=colour, lw=1)
        recall, precision, _ = species_curve(result.all_claimed, species)
        right.plot(recall, precision, color=colour, label=species)
    right.set_title("S vacancies; dashed: ideal observer")
    for axes in (left, right):
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="lower left")
    _save(figure, path)


def reliability(results: Results, path: Path, bins: int = 9) -> None:
    """Share of right detections by claimed probability, a line to a dose."""
    figure, axes = plt.subplots(figsize=(5.4, 4.6))
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(results)))
    for (dose, result), colour in zip(results.items(), shades, strict=True):
        claimed, right = result.all_claimed.score, result.all_claimed.right
        bin_of = np.clip(((claimed - 0.1) / 0.9 * bins).astype(int), 0, bins - 1)
        filled = [k for k in range(bins) if (bin_of == k).sum() >= 10]
        x = [claimed[bin_of == k].mean() for k in filled]
        y = [right[bin_of == k].mean() for k in filled]
        axes.plot(x, y, "o-", ms=3, color=colour, label=f"{dose:g} e/px")
    axes.plot([0, 1], [0, 1], "k--", lw=1)
    axes.set(xlabel="claimed probability", ylabel="share that is right", ylim=(0, 1.02))
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    _save(figure, path)


def positions(result: Result, stride: int, path: Path) -> None:
    """Where in a pixel positions lie, and the mean error by place in a pixel and in a cell."""
    place, error = result.sure.place, result.sure.error
    figure, panels = plt.subplots(1, 3, figsize=(13, 3.8))
    edges = np.linspace(-0.5, 0.5, 17)
    for points, label in ((place, "truth"), (place + error, "found")):
        panels[0].hist(phase(points, 1, 0).ravel(), edges, histtype="step", label=label)
    panels[0].set(title="fractional part of x and y", xlabel="from the pixel's centre (px)")
    panels[0].set_ylim(bottom=0)
    panels[0].legend(fontsize=7)
    _error_by_phase(panels[1], by_phase(place, error, 1, 0), "the pixel's centre (px)")
    cell = by_phase(place, error, stride, (stride - 1) / 2)
    _error_by_phase(panels[2], cell, f"the heat map's cell's centre (cells of {stride} px)")
    _save(figure, path)


def _error_by_phase(axes: Axes, table: tuple[np.ndarray, ...], where: str) -> None:
    middle, mean, spread = table
    axes.errorbar(middle, mean, spread, fmt="o-", ms=4, capsize=2)
    axes.axhline(0, color="k", lw=0.8)
    axes.set(title="mean error (px)", xlabel=f"from {where}", ylim=(-0.25, 0.25))
    axes.grid(alpha=0.3)


def _save(figure: plt.Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    plt.close(figure)
