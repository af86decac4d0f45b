"""How many frames of one stream are in hand, and what is turned away beyond that. No I/O.

A frame that is turned away gets no answer, so that its source keeps it. Whatever the source sent
after it is turned away too, until it comes again: were a later one taken, the first would soon
count as missing. Once there is room the source is asked for it, and goes back to it (go-back-N).
One that sends as many messages past it as a `Publisher` may have on the wire will not go back.
"""

from __future__ import annotations

from latticewatch.client.room import MOST_IN_FLIGHT

#: Frames of a stream in hand, beyond which more are turned away. Twice a publisher's window (16):
#: one that was killed and begins a new epoch finds room beside what it had on its way.
IN_HAND = 32

Key = tuple[int, int]


class Allowance:
    """Decides on each new message of a stream whether there is room for it.

    Parameters
    ----------
    most
        Frames in hand beyond which more are turned away.

    Attributes
    ----------
    in_hand
        Frames and ends that were handed on and are not settled.
    """

    def __init__(self, most: int = IN_HAND) -> None:
        self.in_hand = 0
        self._most = most
        self._awaited: Key | None = None  # the first that was turned away
        self._asked = False
        self._peer: bytes | None = None
        self._last: Key | None = None
        self._passed = 0

    @property
    def due(self) -> bool:
        """Whether something was turned away for which there has been no room since."""
        return self._awaited is not None and not self._asked

    def admits(self, peer: bytes, key: Key) -> bool:
        """Whether a new message is taken; one that is not must be dropped without an answer.

        Parameters
        ----------
        peer
            The connection that it came over. Over another one a source begins with the first
            frame that it holds, so that nothing is waited for any longer.
        key
            Epoch and sequence number.
        """
        if peer != self._peer:
            self._peer, self._awaited = peer, None
        most = self._most
        if self._awaited is not None and not _precedes(key, self._awaited):
            self._passed += key != self._last  # blocks of one frame are many messages
            self._last = key
            if self._passed < MOST_IN_FLIGHT:
                return False
            most = self._most // 2 + 1  # rather some frames in a row than one now and then
        if self.in_hand < most:
            self._awaited = None
            return True
        self._awaited = self._last = key
        self._passed, self._asked = 0, False
        return False

    def answered(self, key: Key) -> None:
        """Note a message that is not new: it is waited for no longer."""
        if key == self._awaited:
            self._awaited = None

    def settled(self, count: int = 1) -> None:
        """Note that so many are committed."""
        self.in_hand -= count

    def ask(self) -> Key | None:
        """Give what the source is to send again, once half of the room is free; each once."""
        if not self.due or self.in_hand > self._most // 2:
            return None
        self._asked = True
        return self._awaited


def _precedes(key: Key, awaited: Key) -> bool:
    return key[0] == awaited[0] and key[1] <= awaited[1]
