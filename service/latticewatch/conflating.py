"""Who waits for the newest overlay, and what each has had. No sockets.

ZeroMQ drops the newest message where a subscriber's queue is full. An overlay that is out of date
is worth nothing, so that a subscriber asks for one when it is ready for it and no queue of them
forms (`client/newest.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from latticewatch.client.message import Message
from latticewatch.client.newest import Request, read_request

#: Requests that are kept; each subscriber has one, and two for a moment.
MOST_REQUESTS = 1024


@dataclass(frozen=True)
class Answer:
    """An overlay for one subscriber: the topic it goes out on, and how many it passes over.

    `first` says that its subscriber had none of that topic.
    """

    topic: bytes
    message: Message
    superseded: int
    first: bool


@dataclass
class _Asker:
    """One subscriber: its subscriptions, how often each is held, and what it has had.

    `had` are numbers by topic, the topic that was served last at the end.
    """

    held: Counter[bytes] = field(default_factory=Counter)
    waiting: dict[bytes, Request] = field(default_factory=dict)
    had: dict[str, int] = field(default_factory=dict)


class Askers:
    """Subscribers that ask for the newest overlay."""

    def __init__(self) -> None:
        self._askers: dict[bytes, _Asker] = {}

    def __len__(self) -> int:
        return sum(len(asker.held) for asker in self._askers.values())

    def ask(self, subscription: bytes) -> bool:
        """Take a subscription; whether it is a request that is kept."""
        request = read_request(subscription)
        if request is None or len(self) >= MOST_REQUESTS:
            return False
        asker = self._askers.setdefault(request.name, _Asker())
        asker.held[subscription] += 1
        asker.waiting[subscription] = request
        return True

    def withdraw(self, subscription: bytes) -> None:
        """Take the end of a subscription; with the last one what its subscriber had is forgotten.

        A subscriber whose connection was lost may be back before the old one ends, so that
        subscriptions are counted.
        """
        request = read_request(subscription)
        asker = None if request is None else self._askers.get(request.name)
        if request is None or asker is None:
            return
        asker.held[subscription] -= 1
        if asker.held[subscription] <= 0:
            del asker.held[subscription]
            asker.waiting.pop(subscription, None)
        if not asker.held:
            del self._askers[request.name]

    def answers(self, latest: Mapping[str, Message]) -> list[Answer]:
        """Answer each request for which there is an overlay that its subscriber has not had.

        Parameters
        ----------
        latest
            The newest message of each topic. Of several streams each subscriber gets in turn.
        """
        given = []
        for asker in self._askers.values():
            for subscription, request in tuple(asker.waiting.items()):
                fresh = [
                    topic
                    for topic, message in latest.items()
                    if request.wants(topic) and asker.had.get(topic) != message.seq
                ]
                if not fresh:
                    continue
                turn = {topic: place for place, topic in enumerate(asker.had)}
                topic = min(fresh, key=lambda name: turn.get(name, -1))
                had = asker.had.pop(topic, None)
                message = latest[topic]
                asker.had[topic] = message.seq
                del asker.waiting[subscription]
                passed = 0 if had is None else message.seq - had - 1
                head = subscription[: -len(request.topic)]
                given.append(Answer(head + topic.encode(), message, passed, had is None))
        return given
