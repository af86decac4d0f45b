"""Train the segmenter and export it to ONNX, checked against torch.

With a movie it is trained on the movie's own frames, labelled by their Bragg peaks: no human, no
simulator. Without one it is trained on simulated specimens.

For example::

  latticewatch train movie.tif --frames 0:1 --out model.onnx
  latticewatch train --simulated --out model.onnx
  latticewatch train --simulated --out model.onnx --iterations 2000 --seed 3

Writes the model and, beside it, a plot of the loss, and for a movie a card (.md) with the agreement
on what was kept from training; `latticewatch serve --model FILE` uses it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from latticewatch.cli import MisuseError
from latticewatch.cli.label import frame_range
from latticewatch.sources import Movie, open_movie
from latticewatch.training_card import TrainingReport
from latticewatch_models.holdout import agreement, divide
from latticewatch_models.labelled import label_frame
from latticewatch_models.runtime import Segmenter
from latticewatch_models.scenes import SceneSource
from latticewatch_models.selftraining import lessons_of
from latticewatch_models.training import (
    NetworkSettings,
    Progress,
    TrainedModel,
    TrainSettings,
    train,
)

#: Steps that the plotted loss is averaged over: single batches differ by a factor of two.
_SMOOTHING = 50

#: Settings of a run on labelled frames. More scenes to a step, and fewer crops of each, than from
#: the simulator: with two scenes the batches' own means taught the network what no frame of its own
#: has (F1 at 400 electrons a pixel 0.86 for 0.90, probabilities too low by a factor of five).
SELF_TRAINING: dict[str, int] = {
    "iterations": 1200,
    "scenes_per_step": 4,
    "crops_per_scene": 2,
    "calibration_scenes": 48,
    # a scene takes twice as long to compose as to learn from
    "workers": 2,
}

#: A step at a quarter of the resolution takes half the time of one at half of it: who waits for a
#: model of his own specimen, four minutes at most, trades a tenth of a pixel for it. What labels
#: cannot see, the vacancies that the finer grid is for, such a model does not learn anyway.
SELF_TRAINED_NETWORK: dict[str, Any] = {
    "design": "quarter",
    "width": 32,
    "deep_width": 64,
    "columns": False,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    defaults = TrainSettings()
    parser.add_argument("movie", type=Path, nargs="?", help=".npy, TIFF or HDF5 to train on")
    parser.add_argument("--simulated", action="store_true", help="train on simulated specimens")
    parser.add_argument("--frames", metavar="A:B", help="of the movie, A to B - 1 (0:1)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the ONNX file")
    parser.add_argument(
        "--iterations",
        type=int,
        metavar="N",
        help=f"steps ({SELF_TRAINING['iterations']} on a movie, {defaults.iterations} simulated)",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="(%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Train and export."""
    if options.movie is None:
        if options.frames is not None:
            raise MisuseError("--frames chooses frames of a movie: give a movie too")
        return _train_simulated(options)
    if options.simulated:
        raise MisuseError("a movie and --simulated: give one of the two")
    return _train_on(open_movie(options.movie), options)


def _train_simulated(options: argparse.Namespace) -> int:
    settings = TrainSettings(seed=options.seed)
    if options.iterations is not None:
        settings = TrainSettings(seed=options.seed, iterations=options.iterations)
    model = _watched(settings, None)
    card = model.export(options.out)
    picture = _plot_beside(options.out, model)
    print(f"wrote {card.path}, checked against torch, and the course of its loss to {picture}")
    return 0


def _train_on(movie: Movie, options: argparse.Namespace) -> int:
    """Label frames of a movie, train on a part of them, and judge the model on the rest."""
    start = time.perf_counter()
    chosen = frame_range(options.frames or "0:1", movie.count)
    frames = [label_frame(movie.read(index)) for index in chosen]
    for index, frame in zip(chosen, frames, strict=True):
        print(f"frame {index}: {frame.summary()}")
    taught, kept = divide(frames)
    lessons = lessons_of((part.frame, part.rows) for part in taught)
    chosen_settings = {**SELF_TRAINING, "seed": options.seed}
    if options.iterations is not None:
        chosen_settings["iterations"] = options.iterations
    # a labelled frame does not tell which of its dark sites still hold a column
    settings = TrainSettings(**chosen_settings, network=NetworkSettings(**SELF_TRAINED_NETWORK))
    model = _watched(settings, lessons)
    source = f"{movie.path.name}, frames {chosen.start}:{chosen.stop}"
    model.export(options.out, crystals=(), notes={"labels": f"Bragg peaks of {source}"})
    report = TrainingReport(
        source,
        sum(len(lesson.points) for lesson in lessons.parts),
        len(frames) > 1,
        settings.iterations,
        settings.seed,
        agreement(Segmenter(options.out, providers="cpu", threads=1), kept),
        time.perf_counter() - start,
    )
    card = options.out.with_suffix(".md")
    card.write_text(report.markdown(options.out.name), encoding="utf-8")
    picture = _plot_beside(options.out, model)
    print(report.summary())
    print(f"wrote {options.out}, checked against torch, its card {card} and its loss {picture}")
    return 0


def _watched(settings: TrainSettings, draw: SceneSource | None) -> TrainedModel:
    """Train with a progress bar."""
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

        return train(settings, report, draw)


def _plot_beside(out: Path, model: TrainedModel) -> Path:
    picture = out.with_suffix(".png")
    plot_loss(picture, model.losses)
    return picture


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
