"""Train the segmenter on simulated scenes, see it judged on others, and write it as ONNX."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from latticewatch_models.export import Calibration, ModelFacts, export_onnx
from latticewatch_models.network import STRIDE, DefectNetwork, NetworkSettings
from latticewatch_models.runtime import ModelCard
from latticewatch_models.scenes import (
    CANONICAL_LATTICE_PX,
    TRAINING_CRYSTALS,
    SceneSource,
    draw_crops,
)
from latticewatch_models.targets import make_targets

logger = logging.getLogger(__name__)

#: Weight of the offsets' L1 loss (in cells) beside the heat map's; the offsets concern a few cells
#: and come along easily, the heat map is the hard part.
OFFSET_WEIGHT = 0.5

#: AdamW's weight decay; small, as the supply of scenes is endless and nothing is seen twice.
WEIGHT_DECAY = 1e-4

#: Scenes that the calibration is fitted on are drawn from this stream, training scenes from stream
#: 0: numpy's seed sequences keep the two apart for every seed.
_TRAINING_STREAM, _CALIBRATION_STREAM = 0, 1

#: Longest gradient that is followed as it is (norm); the first steps can be wild.
_GRADIENT_LIMIT = 5.0


@dataclass(frozen=True)
class TrainSettings:
    """What a training run depends on; the same settings give the same run on the same machine.

    Attributes
    ----------
    seed
        Of the network's first weights and of all scenes.
    iterations
        Steps of the optimiser.
    scenes_per_step, crops_per_scene, crop_px
        A step sees ``scenes_per_step * crops_per_scene`` crops of ``crop_px`` pixels a side.
    learning_rate
        Highest rate of the one-cycle schedule (Smith and Topin, arXiv:1708.07120 (2017)).
    calibration_scenes
        Scenes, never trained on, that the probabilities are calibrated on.
    workers
        Processes that simulate scenes beside the one that trains; 0 simulates in turn.
    threads
        Threads of the one that trains. On crops this small the first does most of the work: a step
        takes 33 ms of one core, about as long as one worker needs for its scenes.
    network
        Size of the network.
    """

    seed: int = 1
    iterations: int = 10000
    scenes_per_step: int = 2
    crops_per_scene: int = 4
    crop_px: int = 128
    learning_rate: float = 3e-3
    calibration_scenes: int = 64
    workers: int = 1
    threads: int = 1
    network: NetworkSettings = field(default_factory=NetworkSettings)

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations is {self.iterations}: give at least 1")
        if self.crop_px % 16:
            raise ValueError(f"crop_px is {self.crop_px}: give a multiple of 16")


@dataclass(frozen=True)
class Progress:
    """Where a training run stands: steps done of all, the mean loss of late, and what is done."""

    step: int
    steps: int
    loss: float
    phase: str


@dataclass(frozen=True)
class TrainedModel:
    """A trained network with its calibration and the course of its loss (one value a step)."""

    network: DefectNetwork
    calibration: Calibration
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
        return export_onnx(self.network, path, facts, self.calibration)


class _Crops(Dataset[tuple[torch.Tensor, ...]]):
    """Crops of scene after scene; scene i depends on the seed, the stream and i alone."""

    def __init__(
        self, settings: TrainSettings, stream: int, length: int, draw: SceneSource | None
    ) -> None:
        self.settings, self.stream, self.length, self.draw = settings, stream, length, draw

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        settings = self.settings
        rng = np.random.default_rng([settings.seed, self.stream, index])
        side = settings.crop_px
        parts: list[tuple[np.ndarray, ...]] = []
        for crop in draw_crops(rng, side, settings.crops_per_scene, self.draw):
            t = make_targets(crop.points, (side, side), STRIDE, crop.ignore)
            parts.append((crop.image[None], t.heat[None], t.weight[None], t.offset, t.near[None]))
        return tuple(torch.from_numpy(np.stack(column)) for column in zip(*parts, strict=True))


def _batches(
    settings: TrainSettings, stream: int, steps: int, draw: SceneSource | None
) -> Iterator[list[torch.Tensor]]:
    """Batches of (image, heat, weight, offset, near), each (crops, channels, rows, columns)."""
    dataset = _Crops(settings, stream, steps * settings.scenes_per_step, draw)
    loader = DataLoader(
        dataset,
        batch_size=settings.scenes_per_step,
        num_workers=settings.workers,
        multiprocessing_context="spawn" if settings.workers else None,
        worker_init_fn=_one_thread,
    )
    for batch in loader:
        yield [tensor.flatten(0, 1) for tensor in batch]


def _one_thread(_worker: int) -> None:
    """Keep a worker that simulates from taking the trainer's cores."""
    torch.set_num_threads(1)


def segmentation_loss(
    logits: torch.Tensor, offsets: torch.Tensor, batch: list[torch.Tensor]
) -> torch.Tensor:
    """Cross-entropy of the heat map and L1 of the offsets, per cell that holds a defect.

    Plain cross-entropy, not the focal loss of "Objects as Points": its minimum is the probability
    itself, and the probabilities are published.
    """
    _, heat, weight, offset, near = batch
    positives = heat.sum().clamp(min=1.0)
    entropy = functional.binary_cross_entropy_with_logits(logits, heat, weight, reduction="sum")
    distance = (near * (offsets - offset).abs()).sum() / STRIDE
    return (entropy + OFFSET_WEIGHT * distance) / positives


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
    torch.set_num_threads(settings.threads)
    network = DefectNetwork(settings.network).train()
    # channels beside each other in memory: four times as fast on a CPU with AVX-512
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
    batches = _batches(settings, _TRAINING_STREAM, settings.iterations, draw)
    for step, batch in enumerate(batches):
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
    calibration = _calibrate(network, settings, draw)
    report(Progress(settings.iterations, settings.iterations, recent, "calibrate"))
    return TrainedModel(network, calibration, settings, losses)


def _no_report(_progress: Progress) -> None:
    pass


def _calibrate(
    network: DefectNetwork, settings: TrainSettings, draw: SceneSource | None
) -> Calibration:
    """Fit scale and shift of the logits by cross-entropy on scenes never trained on."""
    steps = -(-settings.calibration_scenes // settings.scenes_per_step)
    logits, heats = [], []
    with torch.inference_mode():
        for image, heat, weight, _, _ in _batches(settings, _CALIBRATION_STREAM, steps, draw):
            counted = weight > 0
            logits.append(network(image)[0][counted])
            heats.append(heat[counted])
    logit, heat = torch.cat(logits).clone(), torch.cat(heats).clone()
    scale, shift = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([scale, shift], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(scale * logit + shift, heat)
        loss.backward()
        return loss

    optimiser.step(closure)
    return Calibration(float(scale.item()), float(shift.item()))


def main(arguments: list[str] | None = None) -> None:
    """Run ``python -m latticewatch_models.training --out FILE [--seed K] [--iterations N]``."""
    parser = argparse.ArgumentParser(prog="latticewatch_models.training", description=__doc__)
    parser.add_argument("--out", required=True, help="ONNX file to write")
    parser.add_argument("--seed", type=int, default=TrainSettings.seed)
    parser.add_argument("--iterations", type=int, default=TrainSettings.iterations)
    parser.add_argument("--width", type=int, default=NetworkSettings.width)
    parser.add_argument("--deep-width", type=int, default=NetworkSettings.deep_width)
    parser.add_argument("--workers", type=int, default=TrainSettings.workers)
    parser.add_argument("--threads", type=int, default=TrainSettings.threads)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = TrainSettings(
        seed=options.seed,
        iterations=options.iterations,
        workers=options.workers,
        threads=options.threads,
        network=NetworkSettings(options.width, options.deep_width),
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
