"""The bench of kept pictures: what they add to a frame's commit and to the session's file.

    python bench/pictures.py [--size 512] [--frames 300] [--fsync always]

Two writers take the same analysed frames in turn, one with pictures and one without, so that
whatever else the machine does falls on both; what is told is the median of the differences.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from latticewatch.benchmark import simulated_frames
from latticewatch.client.frames import encode_frame, frame_array, parse_header
from latticewatch.config import Settings
from latticewatch.opening import analyser_for
from latticewatch.pipeline import analyse
from latticewatch.receiving.deliveries import Arrival
from latticewatch.steps import Analysed
from latticewatch.storage.store import Store
from latticewatch.tracker import TrackerSettings
from latticewatch.writer import StreamWriter
from latticewatch_models.crystal import crystal_named
from latticewatch_models.runtime import Segmenter

#: Different frames; they are taken again and again.
DIFFERENT = 20

#: First frames that are not counted.
WARM_UP = 20


class Timed(Store):
    """A store that keeps how long each commit took: wall and processor time, milliseconds."""

    spent: tuple[float, float] = (0.0, 0.0)

    def commit(self, *args, **kwargs) -> None:
        """Commit, and time it."""
        wall, processor = time.perf_counter(), time.thread_time()
        super().commit(*args, **kwargs)
        self.spent = tuple(
            1000 * t for t in (time.perf_counter() - wall, time.thread_time() - processor)
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--fsync", choices=("always", "interval", "never"), default="always")
    options = parser.parse_args()
    steps = analysed(options.size)
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=".") as folder:
        spent, sizes = measure(Path(folder), steps, options.frames, options.fsync)
    bare, kept = np.median(spent[:, 0], 0), np.median(spent[:, 1] - spent[:, 0], 0)
    print(
        f"{options.size} x {options.size}, {options.frames} frames, fsync {options.fsync}, load "
        f"{before:.1f}: a commit takes {bare[0]:.2f} ms ({bare[1]:.2f} ms of processor), with "
        f"pictures {kept[0]:+.2f} ms ({kept[1]:+.2f} ms); files {sizes[0] / 1e6:.1f} and "
        f"{sizes[1] / 1e6:.1f} MB"
    )
    return 0


def measure(
    folder: Path, steps: list[Analysed], frames: int, fsync: str
) -> tuple[np.ndarray, list[int]]:
    """Milliseconds (frame, writer, wall or processor), and bytes of the files."""
    writers = []
    for name in ("bare", "kept"):
        crystal = crystal_named("WS2")
        writer = StreamWriter("s", folder / name, TrackerSettings(), crystal, fsync=fsync)
        writer._store.__class__ = Timed
        writers.append(writer)
    spent = []
    for frame in range(frames):
        step = steps[frame % len(steps)]
        step = replace(step, arrival=replace(step.arrival, frame=frame, seq=frame))
        for at in (0, 1) if frame % 2 else (1, 0):
            writers[at].process([step if at else replace(step, picture=None)])
        spent.append([writer._store.spent for writer in writers])
    for writer in writers:
        writer.close()
    files = [folder / name / "session.sqlite" for name in ("bare", "kept")]
    return np.array(spent[WARM_UP:]), [file.stat().st_size for file in files]


def analysed(size: int) -> list[Analysed]:
    """Frames of a simulated movie, analysed."""
    images, header = simulated_frames(size, DIFFERENT)
    analyser = analyser_for(Segmenter(None, "cpu", 1), Settings().analysis)
    steps = []
    for seq, image in enumerate(images):
        packed, buffer = encode_frame(image, stream="s", epoch=1, seq=seq, **header)
        parsed = parse_header(packed)
        arrival = Arrival("s", seq, 1, seq, parsed, frame_array(parsed, buffer), 0.0)
        steps.append(analyse(arrival, analyser, None))
    return steps


if __name__ == "__main__":
    raise SystemExit(main())
