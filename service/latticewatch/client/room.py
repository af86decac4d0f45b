"""Whether the publisher takes a frame: what it holds, what it may hold, and the policy when full.

`Stock` and `Gate` know no threads and no disk: numbers in, a decision out.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, get_args

from latticewatch.client.errors import PublisherFullError
from latticewatch.client.link import Link
from latticewatch.client.outbox import Outbox

log = logging.getLogger(__name__)

#: 256 frames of 512 x 512 float32: four minutes of a service that is away, at one frame a second.
MEMORY_BYTES = 256 * 2**20

#: Ten hours of the same feed.
SPOOL_BYTES = 40 * 2**30

#: Unacknowledged frames on the wire: a round trip is far shorter than a frame, so a few suffice to
#: keep the service busy, and the service's reorder window (8) must be smaller.
IN_FLIGHT = 16

#: A source that sends so many messages past one that the service has turned away will not send that
#: one again: the service waits for it no longer (`latticewatch.receiving.allowance`).
MOST_IN_FLIGHT = 64

Policy = Literal["refuse", "thin"]

#: Share of its room at which a publisher that may thin begins to. Ten hours of spool are then five
#: of every frame and, at every tenth, fifty more.
SCARCE = 0.5

#: Share at which every frame is kept again: well below, so that it does not begin anew at once.
AMPLE = 0.25

#: Numbers that are left out in a row at most: a step that is larger the service takes for nonsense.
LONGEST_GAP = 86_400


@dataclass(frozen=True)
class Stock:
    """What a publisher holds, and what it may hold.

    Attributes
    ----------
    memory_bytes, pending_bytes, handed_bytes
        Limit of memory, everything that is not settled, and of that what its thread has not taken
        over yet.
    spool_limit, spool_size
        Limit of the spool and its size on disk; None without one.
    spool_empty
        Whether nothing of what is pending is in it.
    spool_trouble
        What the disk last said, empty where it takes frames.
    """

    memory_bytes: int
    pending_bytes: int
    handed_bytes: int
    spool_limit: int | None = None
    spool_size: int = 0
    spool_empty: bool = True
    spool_trouble: str = ""

    def shortage(self, nbytes: int) -> str:
        """Why so many bytes more do not fit; empty where they do."""
        if self.spool_limit is None:
            if self.pending_bytes + nbytes <= self.memory_bytes:
                return ""
            pending = "the service does not acknowledge" if self.pending_bytes else ""
            return (
                f"memory for {self.memory_bytes} bytes of frames is full "
                f"({pending or 'a frame is larger'}): "
                "start the service, give a spool_dir, or raise memory_bytes"
            )
        if self.spool_size + self.handed_bytes + nbytes > self.spool_limit and (
            not self.spool_empty or self.pending_bytes + nbytes > self.memory_bytes
        ):
            return (
                f"the spool has reached its limit of {self.spool_limit} bytes: "
                "start the service, or raise spool_bytes"
            )
        if self.handed_bytes + nbytes > self.memory_bytes:
            cause = self.spool_trouble or "the disk is slower than the frames"
            return f"the spool does not take frames in time ({cause}): use a faster or larger disk"
        return ""

    @property
    def share(self) -> float:
        """Share of the room that is taken: of the spool, or of memory where that is more."""
        if self.spool_limit is None:
            return self.pending_bytes / self.memory_bytes
        return max(self.handed_bytes / self.memory_bytes, self.spool_size / self.spool_limit)


@dataclass(frozen=True)
class Room:
    """Memory and spool of a publisher.

    Attributes
    ----------
    memory_bytes
        Most that is kept in memory.
    outbox, link
        What holds it.
    """

    memory_bytes: int
    outbox: Outbox
    link: Link

    def stock(self, pending_bytes: int) -> Stock:
        """Give what is held now; `pending_bytes` are not settled."""
        spool, trouble = self.outbox.spool, self.link.spool_failure
        held = (self.memory_bytes, pending_bytes, self.link.handed_bytes)
        if spool is None:
            return Stock(*held)
        return Stock(*held, spool.limit_bytes, spool.used_bytes, spool.empty, str(trouble or ""))

    def check(self, nbytes: int, pending_bytes: int) -> None:
        """Raise PublisherFullError where `nbytes` more do not fit beside what is not settled."""
        if shortage := self.stock(pending_bytes).shortage(nbytes):
            raise PublisherFullError(shortage)


class Gate:
    """Takes frames by the policy, and says in the log when frames are left out.

    Parameters
    ----------
    stream
        Named in the log.
    policy
        ``refuse``: what does not fit is an error. ``thin``: while room is scarce all but every
        `every`-th frame are left out, and while there is none, all.
    every
        A whole number from 1 on.

    Raises
    ------
    ValueError
        The policy is not known, or the number none.
    """

    def __init__(self, stream: str, policy: Policy = "refuse", every: int = 10) -> None:
        if policy not in get_args(Policy):
            raise ValueError(f"when_full is {policy!r}: use one of {', '.join(get_args(Policy))}")
        if every < 1:
            raise ValueError(f"thin_every is {every}: give a whole number from 1 on")
        self.left_out = 0
        self._stream = stream
        self._refuses = policy == "refuse"
        self._every = every
        self._since: int | None = None  # frames offered since one was taken; None while all are

    def takes(self, stock: Stock, nbytes: int) -> bool:
        """Whether the next frame is taken.

        Raises
        ------
        PublisherFullError
            It does not fit, and the policy is to refuse it.
        """
        shortage = stock.shortage(nbytes)
        if self._refuses:
            if shortage:
                raise PublisherFullError(shortage)
            return True
        thinning = self._since is not None
        if not shortage and stock.share <= (AMPLE if thinning else SCARCE):
            self._back()
            return True
        if self._since is None:
            why = shortage or "more than half of the room for frames is taken"
            text = "%s: %s; one frame in %d is kept from now on, the others count as missing"
            log.warning(text, self._stream, why, self._every)
        offered = self._every if self._since is None else self._since + 1
        taken = offered >= self._every and not shortage
        self._since = 0 if taken else offered
        self.left_out += not taken
        return taken

    def _back(self) -> None:
        if self._since is not None:
            text = "%s: there is room again, every frame is kept; %d were left out so far"
            log.warning(text, self._stream, self.left_out)
        self._since = None


def checked_window(in_flight: int) -> int:
    """Give it; raises ValueError for a window that no publisher can have."""
    if not 1 <= in_flight <= MOST_IN_FLIGHT:
        raise ValueError(f"in_flight is {in_flight}: use 1 to {MOST_IN_FLIGHT}")
    return in_flight


def step_over(number: int, last_kept: int) -> int:
    """Next number after one that is left out; it stays where the gap is as long as may be."""
    return number if number - last_kept > LONGEST_GAP else number + 1
