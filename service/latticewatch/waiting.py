"""Streams whose frames wait at their sources because their session's file fails, and why."""

from __future__ import annotations

import time
from collections.abc import Callable

from latticewatch.receiving.deliveries import StreamUnavailableError

#: After a commit that failed, the file is left alone for so long, seconds: a source sends some 16
#: frames again at once, and each would open the file anew.
PAUSE_S = 1.0


class Waiting:
    """Keeps the reasons, by stream, for as long as they hold.

    Parameters
    ----------
    clock
        Seconds, running evenly.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._closed: dict[str, str] = {}
        self._unwritten: dict[str, tuple[str, float]] = {}

    @property
    def reasons(self) -> dict[str, str]:
        """Why each stream waits."""
        return {**self._closed, **{name: why for name, (why, _) in self._unwritten.items()}}

    def check(self, stream: str) -> None:
        """Raise StreamUnavailableError while it is too early to open the file once more."""
        why, since = self._unwritten.get(stream, ("", 0.0))
        if why and self._clock() - since < PAUSE_S:
            raise StreamUnavailableError(stream, why)

    def not_opened(self, stream: str, error: Exception) -> bool:
        """Note that the session cannot be opened; True if that is new."""
        new = stream not in self.reasons
        self._closed[stream] = str(error)
        return new

    def opened(self, stream: str) -> None:
        """Note that the session is open: whether it can be written, a commit has to show."""
        self._closed.pop(stream, None)

    def not_written(self, stream: str, error: Exception) -> bool:
        """Note that a commit failed; True if that is new."""
        new = stream not in self.reasons
        self._unwritten[stream] = str(error), self._clock()
        return new

    def committed(self, stream: str) -> bool:
        """Note a commit; True if it ends a time of waiting."""
        return self._unwritten.pop(stream, None) is not None
