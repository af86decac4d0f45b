"""Time frames through a service's real sockets: frames a second, latency, and each stage.

For example::

  latticewatch bench
  latticewatch bench --sizes 512 --frames 300 --json bench.json
  latticewatch bench --config lab.toml

Throughput is measured with the frames sent as fast as the service takes them, latency and stages at
--rate frames a second. The service runs in a process of its own; sender and subscriber are here.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from latticewatch.benchmark import WARM_UP, Run, simulated_frames, time_frames
from latticewatch.metrics import STAGES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], metavar="PX")
    parser.add_argument("--frames", type=int, default=200, help="in each run (%(default)s)")
    parser.add_argument("--rate", type=float, default=5.0, help="for the latency (%(default)s/s)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the service's settings, TOML")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")


def run(options: argparse.Namespace) -> int:
    """Measure each size and print a table."""
    config = options.config
    results = {size: measure(size, options.frames, options.rate, config) for size in options.sizes}
    for size, figures in results.items():
        print(describe(size, figures))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return 0


def measure(size: int, frames: int, rate: float, config: Path | None = None) -> dict[str, Any]:
    """Figures of one frame size, milliseconds unless named otherwise."""
    images, header = simulated_frames(size, frames + WARM_UP)
    arguments = () if config is None else ("--config", str(config))
    flooded = time_frames(images, header, arguments=arguments)
    paced = time_frames(images[: WARM_UP + max(40, int(20 * rate))], header, rate, arguments)
    return {
        "frames": flooded.frames,
        "frames_per_s": flooded.frames_per_s,
        "paced_frames": paced.frames,
        "rate": rate,
        "send_to_subscriber": _quantiles(paced.latency_ms),
        "stages": _stages(paced),
    }


def describe(size: int, figures: dict[str, Any]) -> str:
    """Return the figures as lines of text."""
    lines = [
        f"{size} x {size}, {figures['frames']} frames: {figures['frames_per_s']:.1f} frames/s",
        f"  {'ms at ' + format(figures['rate'], 'g') + ' frames/s':20} {'p50':>8} {'p99':>8}",
    ]
    rows = {**figures["stages"], "send to subscriber": figures["send_to_subscriber"]}
    lines += [f"  {name:20} {row['p50']:8.2f} {row['p99']:8.2f}" for name, row in rows.items()]
    return "\n".join(lines)


def _stages(paced: Run) -> dict[str, dict[str, float]]:
    return {name: _quantiles(paced.stages_ms[name]) for name in STAGES if name in paced.stages_ms}


def _quantiles(values: np.ndarray) -> dict[str, float]:
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": float(p50), "p99": float(p99)}
