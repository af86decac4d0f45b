"""What a viewer costs the service: ``python bench/viewer_load.py``.

The service's latency, from a frame's sending to its results' publication, with no viewer, with one
that draws, and with one that is stopped (SIGSTOP) after it has drawn the first frames. The three
follow one another, several times, so that what else the machine does falls on all of them alike;
they get the same frames.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np

from latticewatch.benchmark import STREAM, WARM_UP, send_frames, simulated_frames
from latticewatch.client.messages import Defects, Statistics
from latticewatch.client.subscriber import Subscriber
from latticewatch.processes import running, running_service, until_subscribed

CONDITIONS = ("absent", "drawing", "stopped")

_SILENCE_S = 60.0


def published_ms(condition: str, images: list, header: dict, rate: float) -> np.ndarray:
    """Latencies of the frames after the warm-up, in a fresh service."""
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="latticewatch-bench-") as folder,
        running_service(Path(folder)) as (_, ports),
        Subscriber(ports["results"], STREAM, ("statistics", "defects", "health")) as subscriber,
        viewer(condition, ports["results"]) as process,
    ):
        until_subscribed(subscriber, _SILENCE_S)
        sender = Thread(target=send_frames, args=(ports["frames"], images, header, rate))
        sender.start()
        while True:
            message = subscriber.receive(_SILENCE_S)
            if isinstance(message, Statistics) and message.data.get("ended"):
                break
            if not isinstance(message, Defects):
                continue
            if condition == "stopped" and message.frame == WARM_UP // 2:
                process.send_signal(signal.SIGSTOP)
            if message.frame >= WARM_UP:
                found.append(1000 * (message.published_s - message.sent_s))
        sender.join()
        if condition == "stopped":
            process.send_signal(signal.SIGCONT)
    return np.array(found)


@contextlib.contextmanager
def viewer(condition: str, results: str) -> Iterator[subprocess.Popen[str] | None]:
    if condition == "absent":
        yield None
        return
    with running("view", results, "--web", "--port", "0", pipe=True) as process:
        process.stdout.readline()  # Rerun listens
        yield process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=60, help="in each run, after the warm-up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=5.0, help="frames a second")
    options = parser.parse_args()
    images, header = simulated_frames(options.size, options.frames + WARM_UP)
    runs: dict[str, list[np.ndarray]] = {condition: [] for condition in CONDITIONS}
    for _ in range(options.rounds):
        for condition in CONDITIONS:
            runs[condition].append(published_ms(condition, images, header, options.rate))
    print(
        f"{options.rounds} rounds of {options.frames} frames of {options.size} x {options.size}, "
        f"{options.rate:g} a second; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        "sent to published, ms"
    )
    print(f"  {'viewer':10} {'median':>8} {'p99':>8}   medians of the rounds")
    for condition, found in runs.items():
        p50, p99 = np.percentile(np.concatenate(found), [50, 99])
        medians = ", ".join(f"{np.median(one):.0f}" for one in found)
        print(f"  {condition:10} {p50:8.1f} {p99:8.1f}   {medians}")


if __name__ == "__main__":
    main()
