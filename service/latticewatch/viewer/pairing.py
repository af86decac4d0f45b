"""Overlay and defects of one frame, put together; never those of different frames."""

from __future__ import annotations

from dataclasses import dataclass, replace

from latticewatch.client.messages import Defects, Message, Overlay

#: Frames that may wait for their other half. The service publishes both halves of a frame one after
#: the other, so a half that has seen four later frames has lost its other half for good.
MOST_WAITING = 4

#: A frame: the service's run, the epoch of its source and its number in the session.
Key = tuple[int, int, int]


@dataclass(frozen=True)
class Pairing:
    """Halves that wait, oldest first.

    Attributes
    ----------
    waiting
        By frame, the half that has come.
    newest
        The newest frame that was put together: what comes later of it or before it is too late.
    unpaired
        Halves given up so far.
    """

    waiting: tuple[tuple[Key, Overlay | Defects], ...] = ()
    newest: Key | None = None
    unpaired: int = 0

    def take(self, message: Overlay | Defects) -> tuple[Pairing, tuple[Overlay, Defects] | None]:
        """Add a half; gives the frame that it completes.

        A frame that is complete gives up all halves before it, so frames never go back; the number
        of those that wait is bounded.
        """
        key = key_of(message)
        if self.newest is not None and key[0] == self.newest[0] and key[2] <= self.newest[2]:
            return replace(self, unpaired=self.unpaired + 1), None
        waiting = dict(self.waiting)
        other = waiting.get(key)
        if isinstance(message, Overlay) and isinstance(other, Defects):
            return self._completed(key), (message, other)
        if isinstance(message, Defects) and isinstance(other, Overlay):
            return self._completed(key), (other, message)
        waiting[key] = message
        kept = tuple(waiting.items())[-MOST_WAITING:]
        lost = len(self.waiting) + (other is None) - len(kept)
        return replace(self, waiting=kept, unpaired=self.unpaired + lost), None

    def _completed(self, key: Key) -> Pairing:
        kept = tuple((k, half) for k, half in self.waiting if k[0] == key[0] and k[2] > key[2])
        lost = len(self.waiting) - len(kept) - 1
        return Pairing(kept, key, self.unpaired + lost)


def key_of(message: Message) -> Key:
    """Return which frame the message is about."""
    return (message.run, message.epoch, message.frame)
