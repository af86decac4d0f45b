"""The thin shell: receives, draws, keeps up."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from latticewatch.client.messages import Message, Statistics
from latticewatch.client.subscriber import Subscriber
from latticewatch.viewer.live import Live, left_to_draw
from latticewatch.viewer.recording import Recording

log = logging.getLogger(__name__)

TOPICS = ("partial", "overlay", "defects", "statistics", "alert", "health")

#: Seconds without a message after which the window is looked at again.
_LOOK_S = 0.25

#: Seconds that Rerun's process may take to end after it has hung up, and between two looks at it.
_CLOSING_S, _POLL_S = 3.0, 0.05

#: Seconds between two lines in the log about what was not drawn.
_SAY_S = 10.0

#: Messages that are taken together: 40 frames. More wait in the socket.
_AT_ONCE = 120


def show(
    subscriber: Subscriber,
    server: str | None,
    file: Path | None,
    *,
    open_still: Callable[[], bool],
    until_end: bool = False,
    timeout_s: float | None = None,
) -> None:
    """Draw what the subscriber brings until the window is closed.

    Parameters
    ----------
    subscriber
        Of `TOPICS`.
    server, file
        Where drawings go; see `Recording`.
    open_still
        Tells whether the window is still there.
    until_end
        Return with the end of the stream.
    timeout_s
        Raise TimeoutError after so many silent seconds; None for never.

    Raises
    ------
    RuntimeError
        Rerun does not take drawings.
    """
    files = _files(file)
    live, recording = Live(subscriber.stream), Recording(server, next(files))
    heard = time.monotonic()
    told, said = live.losses, -math.inf
    try:
        while open_still():
            batch = list(_waiting(subscriber))
            if batch:
                heard = time.monotonic()
            elif timeout_s is not None and time.monotonic() - heard > timeout_s:
                raise TimeoutError(f"no message in {timeout_s:g} s: is the service running?")
            kept, skipped = left_to_draw(batch, time.time())
            live.lost(skipped=skipped, unreadable=subscriber.unreadable - live.losses.unreadable)
            for message in kept:
                if live.begins_anew(message):
                    log.warning("the service began a new session: so does the viewer")
                    recording.close()
                    live, recording = Live(live.stream), Recording(server, next(files))
                try:
                    _draw(live, recording, message)
                except RuntimeError:
                    if not _closes(open_still):
                        raise
                    return
            if live.losses != told and time.monotonic() - said > _SAY_S:
                told, said = live.losses, time.monotonic()
                log.warning("not drawn so far: %s", told)
            if until_end and any(_ends(message) for message in kept):
                return
    finally:
        recording.close()


def _waiting(subscriber: Subscriber) -> Iterator[Message]:
    """Messages that have come; waits a little for the first."""
    with contextlib.suppress(TimeoutError):
        yield subscriber.receive(_LOOK_S)
        for _ in range(_AT_ONCE - 1):
            yield subscriber.receive(0)


def _draw(live: Live, recording: Recording, message: Message) -> None:
    for drawing in live.take(message):
        recording.fit(live.sizes)
        recording.draw(drawing)
        recording.flush()
        for more in live.drawn(drawing, time.time()):
            recording.draw(more)


def _closes(open_still: Callable[[], bool]) -> bool:
    """Whether drawing failed because the window is being closed: its process takes a moment."""
    until = time.monotonic() + _CLOSING_S
    while open_still():
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_S)
    return True


def _ends(message: Message) -> bool:
    return isinstance(message, Statistics) and message.data.get("ended") is True


def _files(first: Path | None) -> Iterator[Path | None]:
    """Names of the files of one session after the other: FILE.rrd, FILE-2.rrd, ..."""
    yield first
    number = 1
    while True:
        number += 1
        yield None if first is None else first.with_stem(f"{first.stem}-{number}")
