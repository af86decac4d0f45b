"""Train the segmenter on simulated specimens and export it to ONNX, checked against torch.

For example::

  latticewatch train --out model.onnx
  latticewatch train --out model.onnx --iterations 2000 --seed 3

Writes the model and, beside it, a plot of the loss; `latticewatch serve --model FILE` uses it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from latticewatch_models.training import Progress, TrainSettings, train

#: Steps that the plotted loss is averaged over: single batches differ by a factor of two.
_SMOOTHING = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    defaults = TrainSettings()
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the ONNX file")
    parser.add_argument(
        "--iterations", type=int, default=defaults.iterations, help="steps (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="(%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Train and export."""
    settings = TrainSettings(seed=options.seed, iterations=options.iterations)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with ProgressBar(*columns) as bar:
        task = bar.add_task("train", total=settings.iterations)

        def report(now: Progress) -> None:
            label = f"{now.phase}, loss {now.loss:.3f}"
            bar.update(task, description=label, completed=now.step, total=now.steps)

        model = train(settings, report)
    card = model.export(options.out)
    picture = options.out.with_suffix(".png")
    plot_loss(picture, model.losses)
    print(f"wrote {card.path}, checked against torch, and the course of its loss to {picture}")
    return 0


def plot_loss(path: Path, losses: np.ndarray) -> None:
    """Draw the loss by step, averaged over 50 steps."""
    from matplotlib.figure import Figure

    width = min(_SMOOTHING, len(losses))
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(np.arange(len(smooth)) + width, smooth)
    axes.set(xlabel="step", ylabel=f"loss per defect, mean of {width} steps", yscale="log")
    figure.savefig(path, dpi=120)
