"""Small frames at full speed for as long as given: memory, file handles and latency stay flat.

The service runs in a process of its own and is looked at through /proc. Frames go forwards and
backwards through one movie, so that the specimen moves as it would and never jumps. So many are
on their way that the service always has work; the next goes when one comes back as a result, so
that the time from sending to the result is the service's and not that of a queue without an end.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from latticewatch.client import Defects, Publisher, Subscriber
from latticewatch.processes import running_service, until_subscribed
from reliability.hosted import PATIENCE_S, wait_for_all
from reliability.movie import EPOCH, STREAM, fields_of, make_movie
from reliability.roles import SERVE

#: Side of the frames: the least that the wire takes. The lattice is found in every frame, to 0.7 %,
#: and a defect or more in each (60 frames, seed 5).
SIDE_PX = 64

#: Frames of the movie that is gone through to and fro.
MOVIE_FRAMES = 200

#: On their way at a time: more than the two workers can have in hand.
UNDER_WAY = 8

#: Reservoirs, classes, caches and the allocator's arenas fill in the first frames; a short soak has
#: a shorter warm-up.
WARM_UP_FRAMES = 5_000
WARM_UP_SHARE = 0.2

#: The frames after the warm-up are taken in tenths.
PARTS = 10

#: What the promise allows: memory within 5 % after the warm-up, p99 of the last tenth within 10 %
#: of the first.
MEMORY_WITHIN, P99_WITHIN = 0.05, 0.10

LONG_FRAMES, SHORT_FRAMES = 1_000_000, 2_000


@dataclass(frozen=True)
class Tenth:
    """One tenth of the frames: their latencies, ms, and the process at its end."""

    number: int
    latency_ms: list[float]
    wall_s: float
    processor_s: float
    resident_kib: int
    handles: int

    @property
    def p99_ms(self) -> float:
        """99th percentile of the time from sending to publishing."""
        return float(np.percentile(self.latency_ms, 99))


def processor_s(pid: int) -> float:
    """Processor time that a process has used, s, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kib(pid: int) -> int:
    """Resident memory of a process, KiB, from /proc."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(f"process {pid} has no memory: it has ended")


def handles(pid: int) -> int:
    """Open file descriptors of a process, from /proc."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def to_and_fro(images: np.ndarray) -> Iterator[np.ndarray]:
    """Go through a movie forwards and backwards without end."""
    return itertools.cycle([*images, *images[-2:0:-1]])


def soaked(movie: Path, folder: Path, frames: int, warm_up: int) -> Iterator[Tenth]:
    """Send so many frames after a warm-up; give what was seen, tenth by tenth."""
    images = to_and_fro(np.load(movie))
    with (
        running_service(folder / "data", *SERVE[:-2]) as (service, ports),
        Subscriber(ports["results"], STREAM, ("defects", "health")) as results,
        Publisher(ports["frames"], STREAM, EPOCH) as publisher,
    ):
        until_subscribed(results, PATIENCE_S)
        passed = _through(publisher, results, images, warm_up + frames)
        for _ in itertools.islice(passed, warm_up):
            pass
        for number in range(PARTS):
            share = frames * (number + 1) // PARTS - frames * number // PARTS
            begun, used = time.monotonic(), processor_s(service.pid)
            latency_ms = list(itertools.islice(passed, share))
            yield Tenth(
                number + 1,
                latency_ms,
                time.monotonic() - begun,
                processor_s(service.pid) - used,
                resident_kib(service.pid),
                handles(service.pid),
            )
        publisher.end()
        wait_for_all(publisher)
        if publisher.stats.acked != warm_up + frames:
            raise AssertionError(f"{publisher.stats} of {warm_up + frames} frames")


def _through(
    publisher: Publisher, results: Subscriber, images: Iterator[np.ndarray], count: int
) -> Iterator[float]:
    """Send frames, so many at a time; give each one's milliseconds from sending to publishing."""
    for number in range(min(UNDER_WAY, count)):
        publisher.send(next(images), **fields_of(number))
    sent = publisher.next_seq
    for number in range(count):
        message = results.receive(PATIENCE_S)
        while not isinstance(message, Defects):
            message = results.receive(PATIENCE_S)
        if message.frame != number:
            raise AssertionError(f"frame {message.frame} was published in place of {number}")
        if sent < count:
            publisher.send(next(images), **fields_of(sent))
            sent += 1
        yield 1000 * (message.published_s - message.sent_s)


def verdicts(tenths: list[Tenth]) -> dict[str, tuple[bool, str]]:
    """By item, whether it holds, and its figures."""
    memory = [tenth.resident_kib for tenth in tenths]
    change = max(memory) / memory[0] - 1
    slower = tenths[-1].p99_ms / tenths[0].p99_ms - 1
    open_files = sorted({tenth.handles for tenth in tenths})
    return {
        "resident memory": (change <= MEMORY_WITHIN, f"{100 * change:+.1f} % at most"),
        "p99 of latency": (slower <= P99_WITHIN, f"{100 * slower:+.1f} %"),
        "file handles": (len(open_files) == 1, ", ".join(map(str, open_files))),
    }


HEAD = (
    "| tenth | frames | frames/s | processor, ms a frame | p50, ms | p99, ms | resident, MiB "
    "| handles |\n" + "|---" * 8 + "|"
)


def row(tenth: Tenth) -> str:
    """Figures of a tenth as a line of Markdown."""
    count = len(tenth.latency_ms)
    return (
        f"| {tenth.number} | {count} | {count / tenth.wall_s:.1f} | "
        f"{1000 * tenth.processor_s / count:.1f} | {np.median(tenth.latency_ms):.0f} | "
        f"{tenth.p99_ms:.0f} | {tenth.resident_kib / 1024:.1f} | {tenth.handles} |"
    )


def main(long: bool, frames: int | None = None) -> bool:
    """Print the table and a verdict on each item; whether all hold."""
    count = frames or (LONG_FRAMES if long else SHORT_FRAMES)
    warm_up = min(WARM_UP_FRAMES, int(WARM_UP_SHARE * count))
    print(f"{count} frames of {SIDE_PX} x {SIDE_PX} after {warm_up} of warm-up\n\n{HEAD}")
    tenths = []
    with TemporaryDirectory() as name:
        movie = make_movie(Path(name) / "movie.npy", MOVIE_FRAMES, size=SIDE_PX)
        for tenth in soaked(movie, Path(name), count, warm_up):
            print(row(tenth), flush=True)
            tenths.append(tenth)
    held = verdicts(tenths)
    rate = count / sum(tenth.wall_s for tenth in tenths)
    print(f"\n{rate:.1f} frames/s")
    for item, (well, figures) in held.items():
        print(f"{item}: {figures}: {'PASS' if well else 'FAIL'}")
    return all(well for well, _ in held.values())
