"""Frames through the real sockets of a service in a process of its own, timed end to end."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import numpy as np

from latticewatch.client.messages import Defects, Statistics
from latticewatch.client.publisher import Publisher
from latticewatch.client.subscriber import Subscriber
from latticewatch.processes import running_service, until_subscribed
from latticewatch_models.microscope import Microscope

#: Longest silence of the service before the bench gives up, seconds.
_SILENCE_S = 60.0

#: First frames of a run that are not counted: threads, caches and the mixture warm up on them.
WARM_UP = 20

STREAM = "bench"


@dataclass(frozen=True)
class Run:
    """One run of frames.

    Attributes
    ----------
    frames
        Frames counted, after the warm-up.
    frames_per_s
        Counted frames over the time from the arrival of the last warm-up frame's results to the
        arrival of the last frame's.
    latency_ms
        (frames,) from `Publisher.send` to the subscriber's having the frame's defects.
    stages_ms
        By stage, the service's own timings.
    """

    frames: int
    frames_per_s: float
    latency_ms: np.ndarray
    stages_ms: Mapping[str, np.ndarray] = field(default_factory=dict)


def simulated_frames(
    size: int, count: int, seed: int = 7
) -> tuple[list[np.ndarray], dict[str, float]]:
    """Simulate frames of `size` x `size` pixels; gives them and their header fields."""
    microscope = Microscope("WS2", (size, size), seed)
    return [frame.image for frame in microscope.frames(count)], microscope.header


def time_frames(
    images: Sequence[np.ndarray],
    header: Mapping[str, float],
    rate: float | None = None,
    arguments: Sequence[str] = (),
) -> Run:
    """Send frames to a fresh service and time their way to a subscriber in this process.

    Parameters
    ----------
    images
        Frames, the first `WARM_UP` of which are not counted.
    header
        Fields of `Publisher.send` for each.
    rate
        Frames a second; None sends as fast as the service takes them.
    arguments
        Further options of ``latticewatch serve``.
    """
    with (
        tempfile.TemporaryDirectory(prefix="latticewatch-bench-") as folder,
        running_service(Path(folder), *arguments) as (_, ports),
        Subscriber(ports["results"], STREAM, ("statistics", "defects", "health")) as subscriber,
    ):
        until_subscribed(subscriber, _SILENCE_S)
        sender = Thread(target=send_frames, args=(ports["frames"], images, header, rate))
        sender.start()
        try:
            return _collect(subscriber)
        finally:
            sender.join()


def send_frames(
    endpoint: str, images: Sequence[np.ndarray], header: Mapping[str, float], rate: float | None
) -> None:
    """Send frames and the end of the stream, and wait until all are acknowledged."""
    memory = sum(image.nbytes for image in images) * 2
    with Publisher(endpoint, STREAM, memory_bytes=memory) as publisher:
        start = time.monotonic()
        for number, image in enumerate(images):
            if rate is not None:
                time.sleep(max(0.0, start + number / rate - time.monotonic()))
            publisher.send(image, time_s=number * header["frame_time_s"], **header)  # type: ignore[arg-type]
        publisher.end()
        publisher.flush(_SILENCE_S)


def _collect(subscriber: Subscriber) -> Run:
    arrived: list[float] = []
    latency: list[float] = []
    stages: dict[str, list[float]] = {}
    while True:
        message = subscriber.receive(_SILENCE_S)
        if isinstance(message, Statistics) and message.data.get("ended"):
            break
        if not isinstance(message, Defects) or message.sent_s is None:
            continue
        now = time.time()
        arrived.append(now)
        if len(arrived) > WARM_UP:
            latency.append(1000.0 * (now - message.sent_s))
            for stage, spent in message.timings_ms.items():
                stages.setdefault(stage, []).append(spent)
    counted = len(latency)
    if counted < 2:
        raise ValueError(f"{len(arrived)} frames are too few: the first {WARM_UP} are not counted")
    span = arrived[-1] - arrived[WARM_UP - 1]
    return Run(
        counted,
        counted / span,
        np.array(latency),
        {name: np.array(spent) for name, spent in stages.items()},
    )
