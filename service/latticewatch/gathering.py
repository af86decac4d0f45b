"""Who waits for whom: members of a kind gathered until there are enough, or the first goes on."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Added(Generic[T]):
    """What becomes of a new member.

    Attributes
    ----------
    group
        The group that it completes, itself the last, and which is its to run; else empty.
    first
        Whether it opens a group. It may then wait as long as the group may, and must `take` the
        group after that; all others wait for whoever runs it.
    """

    group: tuple[T, ...] = ()
    first: bool = False


class Gathering(Generic[T]):
    """Groups of members of the same kind that are to be run together; no clock and no threads.

    Parameters
    ----------
    most
        Members that make a group complete, at least 2.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._groups: dict[Hashable, list[T]] = {}

    def add(self, kind: Hashable, member: T) -> Added[T]:
        """Put a member into the group of its kind that is being gathered."""
        group = self._groups.setdefault(kind, [])
        group.append(member)
        if len(group) == self._most:
            del self._groups[kind]
            return Added(tuple(group))
        return Added(first=len(group) == 1)

    def take(self, kind: Hashable, first: T) -> tuple[T, ...]:
        """Close the group that a member opened; empty if it was completed and run meanwhile."""
        group = self._groups.get(kind, [])
        if not group or group[0] is not first:
            return ()
        return tuple(self._groups.pop(kind))
