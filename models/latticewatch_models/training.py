"""Train the segmenter on simulated scenes, see it judged on others, and write it as ONNX."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from latticewatch_models.batches import CALIBRATION_STREAM, TRAINING_STREAM, batches
from latticewatch_models.calibration import Calibration, calibrate
from latticewatch_models.designs import DESIGNS
from latticewatch_models.export import ModelFacts, export_onnx
from latticewatch_models.network import OFFSET_UNIT, DefectNetwork, NetworkSettings
from latticewatch_models.recipe import TrainSettings
from latticewatch_models.runtime import ModelCard
from latticewatch_models.scenes import (
    CANONICAL_LATTICE_PX,
    TRAINING_CRYSTALS,
    SceneSource,
    draw_scene,
)

__all__ = [
    "NetworkSettings",
    "Progress",
    "TrainSettings",
    "TrainedModel",
    "optimise",
    "segmentation_loss",
    "train",
]

logger = logging.getLogger(__name__)

#: Weight of the offsets' L1 loss (in cells) beside the heat map's; the offsets concern a few cells
#: and come along easily, the heat map is the hard part.
OFFSET_WEIGHT = 0.5

#: Weight of the columns' loss beside the defects': they are easy, and the many of them would
#: otherwise steer the steps that the few defects need.
COLUMN_WEIGHT = 0.3

#: AdamW's weight decay; small, as the supply of scenes is endless and nothing is seen twice.
WEIGHT_DECAY = 1e-4

#: In this last part of a run, in which the weights hardly move any more, batch normalisation's
#: means and variances are averaged over all batches alike. A running mean over the last ten or so
#: depends on the few scenes that came last.
_SETTLING_SHARE = 0.1

#: Longest gradient that is followed as it is (norm); the first steps can be wild.
_GRADIENT_LIMIT = 5.0


@dataclass(frozen=True)
class Progress:
    """Where a training run stands: steps done of all, the mean loss of late, and what is done."""

    step: int
    steps: int
    loss: float
    phase: str


@dataclass(frozen=True)
class TrainedModel:
    """A trained network with its calibrations and the course of its loss (one value a step)."""

    network: DefectNetwork
    calibration: Calibration
    column_calibration: Calibration
    settings: TrainSettings
    losses: np.ndarray

    def export(
        self,
        path: str | Path,
        crystals: tuple[str, ...] = TRAINING_CRYSTALS,
        notes: Mapping[str, str] | None = None,
    ) -> ModelCard:
        """Write the model as ONNX with what it was trained on; see `export_onnx`."""
        facts = ModelFacts(
            trained=True,
            lattice_constant_px=CANONICAL_LATTICE_PX,
            crystals=crystals,
            seed=self.settings.seed,
            iterations=self.settings.iterations,
            notes=notes or {},
        )
        return export_onnx(self.network, path, facts, self.calibration, self.column_calibration)


def segmentation_loss(
    logits: torch.Tensor, offsets: torch.Tensor, batch: list[torch.Tensor]
) -> torch.Tensor:
    """Cross-entropy of the heat maps and L1 of the offsets, per cell that holds something.

    Plain cross-entropy, not the focal loss of "Objects as Points": its minimum is the probability
    itself, and the probabilities are published. Defects count once, columns by `COLUMN_WEIGHT`.
    """
    _, heat, weight, offset, near = batch
    entropy = functional.binary_cross_entropy_with_logits(logits, heat, weight, reduction="none")
    error = (offsets - offset).abs() / OFFSET_UNIT
    loss = torch.zeros(())
    for kind, share in zip(range(logits.shape[1]), (1.0, COLUMN_WEIGHT), strict=False):
        positives = heat[:, kind].sum().clamp(min=1.0)
        distance = (near[:, kind, None] * error[:, 2 * kind : 2 * kind + 2]).sum()
        loss = loss + share * (entropy[:, kind].sum() + OFFSET_WEIGHT * distance) / positives
    return loss


def train(
    settings: TrainSettings,
    progress: Callable[[Progress], None] | None = None,
    draw: SceneSource | None = None,
) -> TrainedModel:
    """Train a segmenter on scenes.

    Parameters
    ----------
    settings
        What the run depends on.
    progress
        Called after every step.
    draw
        Where scenes come from, `selftraining.Lessons` say; simulated ones without.

    Returns
    -------
    TrainedModel
        Ready for `TrainedModel.export`.
    """
    report = progress or _no_report
    torch.manual_seed(settings.seed)
    network = DefectNetwork(settings.network)
    given = batches(settings, TRAINING_STREAM, settings.iterations, draw)
    losses = optimise(network, given, settings, report)
    unseen = -(-settings.calibration_scenes // settings.scenes_per_step)
    judged = draw or partial(draw_scene, leave_out=settings.leave_out, usual=True)
    calibrations = calibrate(network, batches(settings, CALIBRATION_STREAM, unseen, judged))
    steps = settings.iterations
    report(Progress(steps, steps, float(losses[-100:].mean()), "calibrate"))
    return TrainedModel(network, *calibrations, settings, losses)


def optimise(
    network: DefectNetwork,
    given: Iterable[list[torch.Tensor]],
    settings: TrainSettings,
    report: Callable[[Progress], None],
) -> np.ndarray:
    """Train a network in place, a step a batch, and leave it in its evaluating mode.

    Parameters
    ----------
    network
        To be trained.
    given
        Batches as of `batches.batches`, ``settings.iterations`` of them.
    settings
        Of these the iterations, the learning rate and the threads count.
    report
        Called after every step.

    Returns
    -------
    numpy.ndarray
        Loss of each step.
    """
    torch.set_num_threads(settings.threads)
    # channels beside each other in memory: up to four times as fast on a CPU
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=settings.learning_rate,
        total_steps=settings.iterations + 1,
        pct_start=0.15,
    )
    losses = np.zeros(settings.iterations)
    settling = settings.iterations - max(1, round(_SETTLING_SHARE * settings.iterations))
    for step, batch in enumerate(given):
        if step == settling:
            _settle(network)
        logits, offsets = network(batch[0].to(memory_format=torch.channels_last))
        loss = segmentation_loss(logits, offsets, batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_LIMIT)
        optimiser.step()
        schedule.step()
        losses[step] = loss.item()
        recent = float(losses[max(0, step - 99) : step + 1].mean())
        report(Progress(step + 1, settings.iterations, recent, "train"))
    network.eval()
    return losses


def _settle(network: nn.Module) -> None:
    """Begin the means and variances of batch normalisation anew, as plain averages from now on."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None


def _no_report(_progress: Progress) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run ``python -m latticewatch_models.training --out FILE [--seed K] [--iterations N]``."""
    parser = argparse.ArgumentParser(prog="latticewatch_models.training", description=__doc__)
    parser.add_argument("--out", required=True, help="ONNX file to write")
    parser.add_argument("--seed", type=int, default=TrainSettings.seed)
    parser.add_argument("--iterations", type=int, default=TrainSettings.iterations)
    parser.add_argument("--width", type=int, default=NetworkSettings.width)
    parser.add_argument("--deep-width", type=int, default=NetworkSettings.deep_width)
    parser.add_argument("--design", choices=DESIGNS, default=NetworkSettings.design)
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="SPECIES", help="show no scene with these"
    )
    parser.add_argument("--workers", type=int, default=TrainSettings.workers)
    parser.add_argument("--threads", type=int, default=TrainSettings.threads)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = TrainSettings(
        seed=options.seed,
        iterations=options.iterations,
        workers=options.workers,
        threads=options.threads,
        network=NetworkSettings(options.width, options.deep_width, options.design),
        leave_out=tuple(options.leave_out),
    )

    def log(progress: Progress) -> None:
        if progress.step % 100 == 0 or progress.phase != "train":
            logger.info(
                "%s %d/%d loss %.3f", progress.phase, progress.step, progress.steps, progress.loss
            )

    model = train(settings, log)
    card = model.export(options.out)
    logger.info("wrote %s, calibration %s", card.path, model.calibration)


if __name__ == "__main__":
    main()
