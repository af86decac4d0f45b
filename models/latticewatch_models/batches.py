"""The scenes of a training run as batches of crops with their targets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from latticewatch_models.network import DefectNetwork
from latticewatch_models.recipe import TrainSettings
from latticewatch_models.scenes import Scene, SceneSource, draw_crops, draw_scene
from latticewatch_models.targets import POSITIVE_RADIUS, make_targets

#: Training scenes are drawn from one stream and those that the calibration is fitted on from
#: another: numpy's seed sequences keep the two apart for every seed.
TRAINING_STREAM, CALIBRATION_STREAM = 0, 1


class _Crops(Dataset[tuple[torch.Tensor, ...]]):
    """Crops of scene after scene; scene i depends on the seed, the stream and i alone."""

    def __init__(
        self, settings: TrainSettings, stream: int, length: int, draw: SceneSource | None
    ) -> None:
        self.settings, self.stream, self.length = settings, stream, length
        self.draw = draw or partial(draw_scene, leave_out=settings.leave_out)
        self.stride = DefectNetwork(settings.network).stride

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        settings = self.settings
        rng = np.random.default_rng([settings.seed, self.stream, index])
        crops = draw_crops(rng, settings.crop_px, settings.crops_per_scene, self.draw)
        parts = [self._target(crop) for crop in crops]
        return tuple(torch.from_numpy(np.stack(column)) for column in zip(*parts, strict=True))

    def _target(self, crop: Scene) -> tuple[np.ndarray, ...]:
        """Image, heat, weight, offset and near, each (channels, rows, columns)."""
        shape, stride = crop.image.shape, self.stride
        kinds = [make_targets(crop.points, shape, stride, crop.ignore)]
        if self.settings.network.columns:
            if crop.columns is None:
                raise ValueError(
                    "these scenes do not know where atomic columns stand: train with "
                    "NetworkSettings(columns=False)"
                )
            kinds.append(make_targets(crop.columns, shape, stride, None, POSITIVE_RADIUS))
        heat, weight, near = (
            np.stack([getattr(t, name) for t in kinds]) for name in ("heat", "weight", "near")
        )
        return crop.image[None], heat, weight, np.concatenate([t.offset for t in kinds]), near


def batches(
    settings: TrainSettings, stream: int, steps: int, draw: SceneSource | None
) -> Iterator[list[torch.Tensor]]:
    """Batches of a run, one a step.

    Each is (image, heat, weight, offset, near), and of each the shape is (crops, channels, rows,
    columns). Of heat, weight and near there is a channel for defects and, where the network marks
    atomic columns, one for these; of the offset two.

    Raises
    ------
    ValueError
        Columns are to be marked, and the scenes do not know them.
    """
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
