"""Which network: accuracy against milliseconds of several designs, trained alike.

    python bench/designs.py --scenes DIR [--designs NAME ...] [--iterations N] [--frames N]

Every design is trained on the same crops in the same order, which are drawn once and kept in DIR
(some 35 MB to a hundred steps), calibrated on the same scenes, and judged on the same simulated
frames; times are of a frame of 512 x 512. Prints a Markdown table, a row when it is known. A
design's model is kept in DIR too, and judged without training where it is there already. Columns
are not marked: what differs is the defects.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from designing.scenes import CHUNK, CROPS, SCENES, batch, chunk
from designing.timing import milliseconds, processor_ms

from latticewatch_models.batches import CALIBRATION_STREAM, batches
from latticewatch_models.calibration import calibrate
from latticewatch_models.export import ModelFacts, export_onnx
from latticewatch_models.microscope import SimulatedFrame
from latticewatch_models.network import DefectNetwork, NetworkSettings, count_parameters
from latticewatch_models.recipe import TrainSettings
from latticewatch_models.runtime import Segmenter
from latticewatch_models.scenes import draw_scene
from latticewatch_models.training import Progress, optimise
from latticewatch_models.validation import SITE_SPECIES, judge, validation_frame

DOSE = 1600.0

#: Probabilities at which the best F1 of the vacancies is looked for.
THRESHOLDS = np.round(np.arange(0.1, 0.95, 0.1), 1)

#: Networks by the name of their row.
DESIGNS: dict[str, NetworkSettings] = {
    "U-Net, width 8": NetworkSettings(8, 0, "unet", columns=False),
    "U-Net, width 16": NetworkSettings(16, 0, "unet", columns=False),
    "quarter, 32/64": NetworkSettings(32, 64, "quarter", columns=False),
    "separable, 32/64": NetworkSettings(32, 64, "separable", columns=False),
    "separable, 64/128": NetworkSettings(64, 128, "separable", columns=False),
    "half, 16/32": NetworkSettings(16, 32, "half", columns=False),
    "eighth, 32/64": NetworkSettings(32, 64, "eighth", columns=False),
    "dilated, 32": NetworkSettings(32, 0, "dilated", columns=False),
}


@dataclass(frozen=True)
class Row:
    """What is told of a design."""

    name: str
    stride: int
    parameters: int
    field_px: int
    milliseconds: float
    processor_ms: float
    metal_f1: float
    vacancy_f1: float
    vacancy_threshold: float
    calibration_error: float
    position_px: float

    def line(self) -> str:
        """As a row of Markdown."""
        return (
            f"| {self.name} | {self.stride} | {self.parameters / 1000:.0f} k | {self.field_px} "
            f"| {self.milliseconds:.1f} | {self.processor_ms:.1f} | {self.metal_f1:.3f} "
            f"| {self.vacancy_f1:.3f} ({self.vacancy_threshold:g}) "
            f"| {self.calibration_error:.3f} | {self.position_px:.3f} |"
        )


HEADER = (
    "| design, widths | stride | parameters | receptive field, px | ms, 2 threads "
    "| ms of a processor, 1 thread | F1, metal sites | best VS F1 (at) | ECE "
    "| position error, px |\n" + "|---" * 10 + "|"
)


def train(name: str, folder: Path, iterations: int, seed: int) -> Path:
    """Train a design on the kept crops and write it, where it is not there yet."""
    path = folder / f"{name.replace(', ', '-').replace('/', '-')}-{seed}-{iterations}.onnx"
    if path.exists():
        return path
    settings = TrainSettings(
        seed=seed,
        iterations=iterations,
        scenes_per_step=SCENES,
        crops_per_scene=CROPS,
        workers=0,
        network=DESIGNS[name],
    )
    torch.manual_seed(seed)
    network = DefectNetwork(settings.network)

    def given() -> Iterator[list[torch.Tensor]]:
        for step in range(iterations):
            if step % CHUNK == 0:
                crops = chunk(folder, seed, step // CHUNK)
            yield [torch.from_numpy(t) for t in batch(crops, step % CHUNK, network.stride)]

    def report(progress: Progress) -> None:
        if progress.step % 250 == 0:
            print(f"# {name} {progress.step} loss {progress.loss:.3f}", flush=True)

    start = time.process_time()
    optimise(network, given(), settings, report)
    print(f"# {name}: {time.process_time() - start:.0f} s of a processor", flush=True)
    unseen = settings.calibration_scenes // SCENES
    usual = partial(draw_scene, usual=True)
    calibrations = calibrate(network, batches(settings, CALIBRATION_STREAM, unseen, usual))
    export_onnx(network, path, ModelFacts(trained=True, seed=seed), *calibrations)
    return path


def receptive_field(settings: NetworkSettings) -> int:
    """Pixels along a side of the square that an output can depend on, by its gradient."""
    torch.manual_seed(0)
    network = DefectNetwork(settings).eval()
    frame = torch.randn(1, 1, 384, 384, requires_grad=True)
    logits, _ = network(frame)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    seen = frame.grad[0, 0].abs() > 0  # type: ignore[index]
    columns = torch.nonzero(seen.any(dim=0))
    return int(columns.max() - columns.min()) + 1


def describe(name: str, path: Path, frames: list[SimulatedFrame]) -> Row:
    """Judge a trained design."""
    two, one = Segmenter(path, threads=2), Segmenter(path, threads=1)
    vacancies = [
        (judge(one.segment, frames, t).score.f1(["VS"], ["chalcogen"]), t) for t in THRESHOLDS
    ]
    best, threshold = max(vacancies)
    result = judge(one.segment, frames)
    return Row(
        name,
        one.stride,
        count_parameters(DefectNetwork(DESIGNS[name])),
        receptive_field(DESIGNS[name]),
        milliseconds(two),
        processor_ms(one),
        result.score.f1(SITE_SPECIES["metal"], ["metal"]),
        best,
        float(threshold),
        result.calibration_error,
        result.score.position_error(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=Path, required=True, metavar="DIR", help="kept crops")
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS))
    parser.add_argument("--iterations", type=int, default=2000, help="(%(default)s)")
    parser.add_argument("--frames", type=int, default=40, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    options = parser.parse_args()
    options.scenes.mkdir(parents=True, exist_ok=True)
    frames = [validation_frame(DOSE, k) for k in range(options.frames)]
    print(HEADER, flush=True)
    for name in options.designs:
        path = train(name, options.scenes, options.iterations, options.seed)
        print(describe(name, path, frames).line(), flush=True)


if __name__ == "__main__":
    main()
