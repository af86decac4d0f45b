"""From a frame's sending to its being drawn: ``python bench/viewer.py``.

Service, simulated source and viewer run as processes of their own, as in use. The viewer stamps
each frame when Rerun's server has taken what is drawn of it; what a browser or a window needs to
paint it is not in that. Frames are simulated beforehand, so that the source takes little of the
machine.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from rerun.chunk import RrdReader

from latticewatch.benchmark import WARM_UP, send_frames, simulated_frames
from latticewatch.processes import running, running_service


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rate", type=float, default=5.0, help="frames a second")
    options = parser.parse_args()
    images, header = simulated_frames(options.size, options.frames + WARM_UP)
    with tempfile.TemporaryDirectory(prefix="latticewatch-bench-") as folder:
        file = Path(folder) / "session.rrd"
        view = ("--web", "--port", "0", "--record", str(file), "--until-end")
        with (
            running_service(Path(folder) / "data") as (_, ports),
            running("view", ports["results"], *view, pipe=True) as viewer,
        ):
            viewer.stdout.readline()  # Rerun listens
            send_frames(ports["frames"], images, header, options.rate)
            viewer.wait()
        print(report(file, options))


def report(file: Path, options: argparse.Namespace) -> str:
    drawn, published = (series(file, f"latency/{name}") for name in ("drawn", "published"))
    frames = sorted(set(drawn) & set(published))
    frames = [frame for frame in frames if frame >= WARM_UP]
    load = os.getloadavg()[0]
    head = f"{len(frames)} frames of {options.size} x {options.size}, {options.rate:g} a second; "
    lines = [head + f"{os.cpu_count()} cores, load {load:.1f}; ms, median and p99"]
    whole = np.array([drawn[frame] for frame in frames])
    service = np.array([published[frame] for frame in frames])
    for name, values in (
        ("sent to drawn", whole),
        ("of which to published", service),
        ("of which the viewer's", whole - service),
    ):
        p50, p99 = np.percentile(values, [50, 99])
        lines.append(f"  {name:24} {p50:7.1f} {p99:7.1f}")
    return "\n".join(lines)


def series(file: Path, entity: str) -> dict[int, float]:
    """Values by frame."""
    values = {}
    for chunk in RrdReader(file).stream():
        if chunk.entity_path.strip("/") == entity and not chunk.is_static:
            for row in chunk.to_record_batch().to_pylist():
                if "Scalars:scalars" in row:
                    values[row["frame"]] = row["Scalars:scalars"][0]
    return values


if __name__ == "__main__":
    main()
