"""What a device gains by the network's rewriting for CUDA, on its own and recorded.

    python bench/rewriting.py [--model FILE] [--sides 512 512] [--numbers 1 4 8 16] [--runs N]

Prints a Markdown table: microseconds that a run of the network takes the device, by CUDA's events
around recorded runs one after another, as its file has it and rewritten, with convolutions packed
to several numbers of channels (`packing.MOST_CHANNELS`; 0 packs none), and the largest difference
of probabilities from those of the file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from latticewatch_kernels.arrays import device, to_host
from latticewatch_kernels.library import library
from latticewatch_kernels.recording import own_stream, record
from latticewatch_models import packing
from latticewatch_models.opened import Source
from latticewatch_models.runtime import Segmenter

#: Channels that convolutions are packed to; None leaves the network as its file has it.
FORMS = (None, 0, 32, 64, 128)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="the shipped model without")
    parser.add_argument("--sides", type=int, nargs=2, default=[512, 512])
    parser.add_argument("--numbers", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    segmenter = Segmenter(options.model, ("cuda", "cpu"))
    print("| frames | form | us a run | largest difference |\n|---|---|---|---|")
    with device(0):
        for number in options.numbers:
            shape = (number, 1, *options.sides)
            frames = np.random.default_rng(1).normal(size=shape).astype(np.float32)
            expected = None
            for form in FORMS:
                with formed(form):
                    time_us, heat = timed(segmenter, frames, options.runs)
                expected = heat if expected is None else expected
                name = "as it is" if form is None else f"rewritten, {form} channels"
                difference = np.abs(heat - expected).max()
                print(f"| {number} | {name} | {time_us:.0f} | {difference:.1e} |", flush=True)


@contextmanager
def formed(form: int | None) -> Iterator[None]:
    """Have sessions opened in one of `FORMS`."""
    if form is None:
        with mock.patch.object(Source, "_rewritten", return_value=None):
            yield
    else:
        with mock.patch.object(packing, "MOST_CHANNELS", form):
            yield


def timed(segmenter: Segmenter, frames: np.ndarray, runs: int) -> tuple[float, Any]:
    """Microseconds of a recorded run, and the heat maps that it gives."""
    cuda, stream = library("cupy").cuda, own_stream()
    with stream:
        network = segmenter.beside(len(frames), frames.shape[2:])
        if network is None:
            raise SystemExit(f"not recorded by {segmenter.providers[0]}: CUDA's provider is needed")
        network.frames[...] = library("cupy").asarray(frames)
    recorded, _ = record(network.run, stream)
    with stream:
        before, after = cuda.Event(), cuda.Event()
        for count in (runs, runs):  # the first are to warm up
            before.record()
            for _ in range(count):
                recorded.start()
            after.record()
            after.synchronize()
        heat = to_host(network.results["heat"])
    return 1e3 * cuda.get_elapsed_time(before, after) / runs, heat


if __name__ == "__main__":
    main()
