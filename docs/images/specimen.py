"""Draw docs/images/specimen.png: what the simulated microscope sees, and how it changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np

from latticewatch_models.kinetics import Rates
from latticewatch_models.microscope import ImagingConfig, Microscope, SimulatedFrame, SpecimenConfig

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

#: Okabe and Ito's colours, told apart by the colour-blind too.
COLOURS = {
    "MoW": "#56B4E9",
    "VS": "#F0E442",
    "VS2": "#E69F00",
    "VW": "#D55E00",
    "adatom": "#CC79A7",
}


def show(axes: Axes, frame: SimulatedFrame, title: str, marks: bool) -> None:
    """Show a frame, with its true defects marked or without."""
    low, high = np.percentile(frame.image, [0.5, 99.8])
    axes.imshow(frame.image, cmap="gray", vmin=low, vmax=high)
    axes.set(title=title, xticks=[], yticks=[])
    truth = frame.truth
    for species, colour in COLOURS.items() if marks else ():
        chosen = truth.species == species
        x, y = truth.x_px[chosen], truth.y_px[chosen]
        axes.plot(x, y, "o", mfc="none", ms=9, mew=1.5, color=colour, label=species)


def main() -> None:
    """Draw the four panels."""
    figure, panels = plt.subplots(1, 4, figsize=(16, 4.2), width_ratios=[1, 1, 1, 1.1])
    frames = list(Microscope(seed=1).frames(60))
    show(panels[0], frames[0], "WS2:Mo, 1,600 electrons a pixel", marks=False)
    show(panels[1], frames[0], "the same with its truth", marks=True)
    panels[1].legend(loc="lower right", fontsize=7, framealpha=0.9)
    damaging = SpecimenConfig(rates=replace(Rates(), hole_nucleation_barn=60.0))
    still = ImagingConfig(drift_nm_per_frame=0.0)
    *_, last = Microscope(seed=1, specimen=damaging, imaging=still).frames(120)
    show(panels[2], last, "after 120 frames, 20 times the hole nucleation", marks=False)
    panels[2].contour(last.truth.hole_mask(), [0.5], colors="#009E73", linewidths=1)
    for state in ("MoW", "MoW+VS/0", "MoW+VS/1", "MoW+VS/2"):
        count = [int(np.sum(frame.truth.state == state)) for frame in frames]
        panels[3].plot([frame.time_s for frame in frames], count, label=state, lw=1)
    panels[3].set(title="dopants by state", xlabel="time (s)", ylim=(0, None))
    panels[3].legend(fontsize=7, ncols=2)
    figure.tight_layout()
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=60)


if __name__ == "__main__":
    main()
