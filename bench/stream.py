"""The stream bench: this service and AtomAI on the same simulated frames, in one run.

    python bench/stream.py [--sizes 256 512] [--frames 200] [--no-peer] [--markdown FILE]

Frames go through the service's real sockets (``latticewatch bench`` measures the same without the
peer). AtomAI runs in an environment of its own, which is made on first use; where that cannot be
had, its row says so.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from latticewatch.benchmark import simulated_frames
from latticewatch.cli.bench import describe, measure

HERE = Path(__file__).parent
REPOSITORY = HERE.parent

#: Frames that AtomAI gets: at a quarter of a second a frame enough for a median.
PEER_FRAMES = 40

#: Longest that the peer may take, its installation included, seconds.
PEER_TIMEOUT_S = 1800


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], metavar="PX")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--config", type=Path, metavar="FILE", help="the service's settings, TOML")
    parser.add_argument("--no-peer", action="store_true", help="leave AtomAI out")
    parser.add_argument("--venv", type=Path, default=REPOSITORY / ".venv-peer")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    options = parser.parse_args()
    ours: dict[int, dict[str, Any]] = {}
    peers: dict[int, dict[str, Any] | str] = {}
    for size in options.sizes:
        ours[size] = measure(size, options.frames, options.rate, options.config)
        print(describe(size, ours[size]), flush=True)
        peers[size] = "left out" if options.no_peer else measure_peer(size, options.venv)
        print(f"  AtomAI: {peer_text(peers[size])}", flush=True)
    if options.markdown:
        options.markdown.write_text(markdown(ours, peers), encoding="utf-8")
    return 0


def measure_peer(
    size: int, venv: Path, python: Path | None = None, gpu: bool = False
) -> dict[str, Any] | str:
    """Give AtomAI's figures on the frames that the service had, or why there are none.

    It runs in the environment ``venv``, or by the interpreter ``python`` where that is given.
    """
    images, _ = simulated_frames(size, PEER_FRAMES)
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "frames.npy"
        np.save(frames, np.stack(images))
        script = HERE / "peers" / "run_atomai.py"
        where = ["--venv", str(venv)] if python is None else ["--python", str(python)]
        command = [sys.executable, str(script), *where, "--frames", str(frames)]
        command += ["--gpu"] if gpu else []
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=PEER_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no answer in {PEER_TIMEOUT_S} s"
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def peer_text(peer: dict[str, Any] | str) -> str:
    if isinstance(peer, str):
        return f"not measured: {peer}"
    parts = [f"{name} {peer[f'{name}_ms']['median']:.1f} ms" for name in ("predict", "locate")]
    return f"{' + '.join(parts)} a frame ({1000 / peer['total_ms']['median']:.1f} frames/s)"


def markdown(ours: dict[int, dict[str, Any]], peers: dict[int, dict[str, Any] | str]) -> str:
    figures = list(ours.values())
    rate = figures[0]["rate"]
    rows = [
        ["", *(f"{size} x {size}" for size in ours)],
        ["---"] * (len(ours) + 1),
        ["frames/s, sockets to sockets", *(f"{one['frames_per_s']:.1f}" for one in figures)],
        [
            f"send to subscriber at {rate:g} frames/s, p50 / p99 ms",
            *(pair(one["send_to_subscriber"]) for one in figures),
        ],
        *(
            [f"{stage}, p50 / p99 ms", *(pair(one["stages"][stage]) for one in figures)]
            for stage in figures[0]["stages"]
        ),
        ["AtomAI `SegPredictor` + `Locator`", *(peer_text(peer) for peer in peers.values())],
    ]
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", f"Machine: {machine}."]) + "\n"


def pair(row: dict[str, float]) -> str:
    return f"{row['p50']:.1f} / {row['p99']:.1f}"


if __name__ == "__main__":
    sys.exit(main())
