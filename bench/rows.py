"""Frames handed over while they are acquired: ``python bench/rows.py``.

Service and viewerless subscriber as in use; a simulated source sends frames as a scan acquires
them, rows over the frame time, and then, to a fresh service, whole. Told are how long after rows
were sent the overlay that tells of them was received, less the time that their analysis took; and
the latency of complete frames either way. Frames are simulated beforehand.
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
WARM_UP = 8

#: Rows are sent at these numbers' times, seconds (Unix), by frame.
Sent = dict[int, list[tuple[int, float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rate", type=float, default=5.0, help="frames a second")
    parser.add_argument("--rows", type=int, default=32, help="rows of a block")
    options = parser.parse_args()
    images, header = simulated_frames(options.size, options.frames + WARM_UP)
    load = os.getloadavg()[0]
    print(
        f"{options.frames} frames of {options.size} x {options.size}, {options.rate:g} a second, "
        f"blocks of {options.rows} rows; {os.cpu_count()} cores, load {load:.1f} before; "
        "ms, median and p99"
    )
    whole, _, _, _ = measure(images, header, options.rate, None)
    in_rows, partials, sent, outcomes = measure(images, header, options.rate, options.rows)
    tell("complete frames, sent whole", whole)
    tell("complete frames, sent in rows", in_rows)
    first = first_of_each(partials)
    told = sum(frame >= WARM_UP for frame in first)
    print(f"  frames with an overlay of rows: {told} of {options.frames}; {dict(outcomes)}")
    late, begun, spent = [], [], []
    for frame, (message, received_s) in first.items():
        if frame < WARM_UP:
            continue
        at = dict(sent[frame])
        late.append(1000 * (received_s - at[message.rows_done]) - message.analysis_ms)
        begun.append(1000 * (received_s - sent[frame][0][1]))
        spent.append(message.analysis_ms)
    tell("newest rows in it to first overlay, beyond analysis", late)
    tell("  the analysis of these rows", spent)
    tell("first block sent to first overlay", begun)


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
    images: Sequence[np.ndarray], header: Mapping[str, float], rate: float, rows: int | None
) -> tuple[list[float], list[tuple[PartialOverlay, float]], Sent, Counter[str]]:
    """Latencies of complete frames after the warm-up (ms), overlays of rows, times of the rows."""
    topics = ("partial", "defects", "statistics", "health")
    sent: Sent = {}
    with (
        tempfile.TemporaryDirectory(prefix="latticewatch-bench-") as folder,
        running_service(Path(folder)) as (_, ports),
        Subscriber(ports["results"], STREAM, topics) as subscriber,
    ):
        until_subscribed(subscriber, SILENCE_S)
        arguments = (ports["frames"], images, header, rate, rows, sent)
        sender = Thread(target=send, args=arguments)
        sender.start()
        latency, partials = [], []
        while True:
            message = subscriber.receive(SILENCE_S)
            now = time.time()
            if isinstance(message, PartialOverlay):
                partials.append((message, now))
            elif isinstance(message, Defects) and message.frame >= WARM_UP:
                latency.append(1000 * (now - message.sent_s))
            elif isinstance(message, Statistics) and message.data.get("ended"):
                break
        sender.join()
        return latency, partials, sent, outcomes_of(ports["metrics"])


def send(
    endpoint: str,
    images: Sequence[np.ndarray],
    header: Mapping[str, float],
    rate: float,
    rows: int | None,
    sent: Sent,
) -> None:
    """Send each frame as soon as a scan at this rate has acquired its rows, or all of it."""
    memory = 2 * sum(image.nbytes for image in images)
    with Publisher(endpoint, STREAM, memory_bytes=memory) as publisher:
        start = time.monotonic()
        for number, image in enumerate(images):
            fields = {"time_s": number * header["frame_time_s"], **header}
            height = image.shape[0]
            step = rows or height
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
