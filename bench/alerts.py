"""The alert bench: from a frame's commit to the reaction of a script in a process of its own.

    python bench/alerts.py [--size 512] [--frames 150] [--rate 5]

A ladder of rules on the dose raises one alert with every frame. The script is
``docs/examples/blank_beam.py`` as it stands; the times are those that it prints.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from latticewatch.alerting import Reading, Value, Watch, parse_rule
from latticewatch.alerting.quantities import Names
from latticewatch.benchmark import simulated_frames
from latticewatch.client.publisher import Publisher
from latticewatch.processes import GRACE_S, running_service
from latticewatch_models.crystal import crystal_named

#: What a frame is held against where the rules alone are timed.
RULES = (
    "hole_fraction > 0.05", "defect_density > 0.4 for 3 frames", "change in VS", "dose > 1e6",
    "segmenter_disagreement", "population of VW > 20", "disordered_fraction > 0.3",
    "missing_in_a_row > 3",
)  # fmt: skip

SCRIPT = Path(__file__).parents[1] / "docs" / "examples" / "blank_beam.py"

STREAM = "bench"

#: First frames that are not counted: threads and caches warm up on them.
WARM_UP = 20

#: The last acknowledgement may take so long, seconds.
_FLUSH_S = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rate", type=float, default=5.0, help="frames a second")
    options = parser.parse_args()
    # the service writes a line for each alert, which is no part of what is measured here
    os.environ["LATTICEWATCH_LOG"] = "ERROR"
    images, header = simulated_frames(options.size, options.frames)
    before = os.getloadavg()[0]
    delays = measure(images, header, options.rate)
    print(
        f"{options.size} x {options.size}, {options.rate:g} frames/s, {len(delays)} alerts: from "
        f"the frame's commit to the blanked beam {np.median(delays):.1f} ms median, "
        f"{np.percentile(delays, 99):.1f} ms p99, {max(delays):.1f} ms at most"
    )
    print(f"the rules alone, {len(RULES)} of them: {time_rules():.3f} ms a frame")
    after = os.getloadavg()[0]
    print(f"load of the machine ({os.cpu_count()} cores): {before:.1f} before, {after:.1f} after")
    return 0


def measure(images: list[np.ndarray], header: dict[str, float], rate: float) -> list[float]:
    """Give the script's reaction times in ms, those of the warm-up left out."""
    dose = header["dose_e_per_A2"]
    rules = [f"'dose > {(frame + 0.5) * dose!r}'" for frame in range(len(images))]
    with tempfile.TemporaryDirectory(prefix="latticewatch-bench-") as folder:
        config = Path(folder) / "alerts.toml"
        config.write_text(f"[alerts]\nrules = [{', '.join(rules)}]\n", encoding="utf-8")
        with running_service(Path(folder) / "data", "--config", str(config)) as (_, ports):
            command = [sys.executable, str(SCRIPT), ports["results"], "--stream", STREAM]
            with subprocess.Popen(
                [*command, "--alerts", str(len(images))], stdout=subprocess.PIPE, text=True
            ) as script:
                assert script.stdout is not None  # noqa: S101 - asked for above
                if script.stdout.readline() != "watching\n":
                    raise RuntimeError("the script did not start: see its line above")
                send(ports["frames"], images, header, rate)
                said, _ = script.communicate(timeout=GRACE_S)
    found = [float(ms) for ms in re.findall(r"([\d.]+) ms after", said)]
    if len(found) != len(images):
        raise RuntimeError(f"{len(images)} frames brought {len(found)} alerts")
    return found[WARM_UP:]


def time_rules(frames: int = 2000) -> float:
    """Median time in ms that a frame is held against `RULES`, none of which comes true."""
    names = Names.of(crystal_named("WS2"))
    watch = Watch(tuple(parse_rule(rule, names) for rule in RULES))
    values = {
        name: Value(0.01)
        for name in ("hole_fraction", "defect_density", "disordered_fraction", "population of VW")
    }
    spent = []
    for frame in range(frames):
        reading = Reading(frame, 1.0 * frame, values, {"segmenter_disagreement": False}, (), 100.0)
        start = time.perf_counter()
        watch, _ = watch.after(reading)
        spent.append(time.perf_counter() - start)
    return 1000 * float(np.median(spent))


def send(endpoint: str, images: list[np.ndarray], header: dict[str, float], rate: float) -> None:
    with Publisher(endpoint, STREAM) as publisher:
        start = time.monotonic()
        for number, image in enumerate(images):
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
            publisher.send(image, time_s=number * header["frame_time_s"], **header)
        publisher.end()
        publisher.flush(_FLUSH_S)


if __name__ == "__main__":
    sys.exit(main())
