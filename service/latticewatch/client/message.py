"""What every result message carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Message:
    """What every result message carries.

    Attributes
    ----------
    stream, epoch, frame, time_s
        The frame that the message is about; `frame` counts through the session, -1 for none.
    seq, run
        Publication number on this topic, from 1, and the number of the service's run that counts
        it: a service that was restarted counts anew. Set by the publishing side.
    sent_s, published_s
        Unix times at which the source sent the frame and the service published the message.
    snapshot
        The message repeats the topic's last value for somebody who has just subscribed.
    missed, gap
        Messages of this topic that were lost before this one, and the first and last frame that
        `Subscriber.fetch_gap` can ask for; both set by the Subscriber.
    """

    kind: ClassVar[str] = ""

    stream: str = ""
    epoch: int = 0
    frame: int = -1
    time_s: float = 0.0
    seq: int = 0
    run: int = 0
    sent_s: float | None = None
    published_s: float | None = None
    snapshot: bool = False
    missed: int = 0
    gap: tuple[int, int] | None = None

    @property
    def topic(self) -> str:
        """Topic that the message is published on."""
        return f"{self.kind}/{self.stream}"

    def body(self) -> dict[str, Any]:
        """Fields of the particular kind, as `wire.pack` takes them."""
        raise NotImplementedError

    def payload(self) -> bytes | None:
        """Third part of the message, or None."""
        return None

    @classmethod
    def read_body(cls, body: dict[str, Any], payload: memoryview | None) -> dict[str, Any]:  # noqa: ARG003
        """Give the constructor arguments from what `body` and `payload` gave."""
        return body
