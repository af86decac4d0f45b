"""Frames handed over while they are acquired: ``python bench/rows.py``.

Service and subscriber are processes as in use. A simulated source sends frames as a scan acquires
them, in turn ten whole and ten in rows, so that whatever else the machine does meets both. Told are
the latency of complete frames either way, and how long after rows were sent the first overlay that
tells of them was received, less the time that their analysis took. Frames are simulated beforehand.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread

import numpy as np

from latticewatch.benchmark import STREAM, simulated_frames
from latticewatch.client import (
    Defects,
    PartialOverlay,
    Publisher,
    Statistics,
    Subscriber,
)
from latticewatch.processes import running_service, until_subscribed

SILENCE_S = 60.0

#: First frames of a run that are not counted: threads and caches warm up on them.
WARM_UP = 10

#: Rows are sent at these numbers' times, seconds (Unix), by frame.
Sent = dict[int, list[tuple[int, float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=100, help="of both kinds together")
    parser.add_argument("--rate", type=float, default=2.0, help="frames a second")
    parser.add_argument("--rows", type=int, default=32, help="rows of a block")
    options = parser.parse_args()
    images, header = simulated_frames(options.size, options.frames + WARM_UP)
    load = os.getloadavg()[0]
    latency, partials, sent, outcomes = measure(images, header, options.rate, options.rows)
    print(
        f"{options.frames} frames of {options.size} x {options.size}, {options.rate:g} a second, "
        f"blocks of {options.rows} rows; {os.cpu_count()} cores, load {load:.1f} before and "
        f"{os.getloadavg()[0]:.1f} after; ms, median and p99"
    )
    for in_rows, name in ((False, "whole"), (True, "in rows")):
        spent = [ms for frame, ms in latency.items() if goes_in_rows(frame) == in_rows]
        tell(f"{len(spent)} complete frames, sent {name}", spent)
    first = first_of_each(partials)
    late, begun, analysis = [], [], []
    for frame, (message, received_s) in first.items():
        if frame not in latency:
            continue
        at = dict(sent[frame])
        late.append(1000 * (received_s - at[message.rows_done]) - message.analysis_ms)
        begun.append(1000 * (received_s - sent[frame][0][1]))
        analysis.append(message.analysis_ms)
    tell("newest rows in it to first overlay, beyond analysis", late)
    tell("  the analysis of these rows", analysis)
    tell("first block sent to first overlay", begun)
    told = Counter(message.frame for message, _ in partials if message.frame in latency)
    print(
        f"  overlays of rows: {sum(told.values())} of {len(told)} frames; strips {dict(outcomes)}"
    )


def goes_in_rows(frame: int) -> bool:
    """Whether a frame is sent in rows: ten are, and ten are not."""
    return frame // 10 % 2 == 1


def tell(name: str, values: Sequence[float]) -> None:
    if not values:
        print(f"  {name:52}       -       -")
        return
    p50, p99 = np.percentile(values, [50, 99])
    print(f"  {name:52} {p50:7.1f} {p99:7.1f}")


def first_of_each(
    partials: Sequence[tuple[PartialOverlay, float]],
) -> dict[int, tuple[PartialOverlay, float]]:
    """First overlay of rows of each frame, and when it was received."""
    first: dict[int, tuple[PartialOverlay, float]] = {}
    for message, received_s in partials:
        first.setdefault(message.frame, (message, received_s))
    return first


def measure(
    images: Sequence[np.ndarray], header: Mapping[str, float], rate: float, rows: int
) -> tuple[dict[int, float], list[tuple[PartialOverlay, float]], Sent, Counter[str]]:
    """Latencies of complete frames after the warm-up (ms), overlays of rows, times of the rows."""
    topics = ("partial", "defects", "statistics", "health")
    sent: Sent = {}
    latency: dict[int, float] = {}
    partials: list[tuple[PartialOverlay, float]] = []
    with (
        tempfile.TemporaryDirectory(prefix="latticewatch-bench-") as folder,
        running_service(Path(folder)) as (_, ports),
        Subscriber(ports["results"], STREAM, topics) as subscriber,
    ):
        until_subscribed(subscriber, SILENCE_S)
        arguments = (ports["frames"], images, header, rate, rows, sent)
        sender = Thread(target=send, args=arguments)
        sender.start()
        while True:
            message = subscriber.receive(SILENCE_S)
            now = time.time()
            if isinstance(message, PartialOverlay):
                partials.append((message, now))
            elif isinstance(message, Defects) and message.frame >= WARM_UP:
                latency[message.frame] = 1000 * (now - (message.sent_s or now))
            elif isinstance(message, Statistics) and message.data.get("ended"):
                break
        sender.join()
        return latency, partials, sent, outcomes_of(ports["metrics"])


def send(
    endpoint: str,
    images: Sequence[np.ndarray],
    header: Mapping[str, float],
    rate: float,
    rows: int,
    sent: Sent,
) -> None:
    """Send each frame as soon as a scan at this rate has acquired its rows, or all of it."""
    memory = 2 * sum(image.nbytes for image in images)
    with Publisher(endpoint, STREAM, memory_bytes=memory) as publisher:
        start = time.monotonic()
        for number, image in enumerate(images):
            fields = {"time_s": number * header["frame_time_s"], **header}
            height = image.shape[0]
            step = rows if goes_in_rows(number) else height
            with publisher.frame(image.shape, image.dtype, **fields) as frame:
                for top in range(0, height, step):
                    block = image[top : top + step]
                    acquired = start + (number + (top + len(block)) / height) / rate
                    time.sleep(max(0.0, acquired - time.monotonic()))
                    sent.setdefault(number, []).append((top + len(block), time.time()))
                    frame.rows(block)
        publisher.end()
        publisher.flush(SILENCE_S)


def outcomes_of(metrics: str) -> Counter[str]:
    """Read what became of the strips, by the service's own count."""
    counts: Counter[str] = Counter()
    with urllib.request.urlopen(metrics) as answer:  # noqa: S310 - our own service on loopback
        for line in answer.read().decode().splitlines():
            found = re.match(r'latticewatch_strips_total\{.*outcome="(\w+)".* ([\d.]+)$', line)
            if found:
                counts[found[1]] += int(float(found[2]))
    return counts


if __name__ == "__main__":
    main()
