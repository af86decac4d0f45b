"""Work of several frames that is asked for in step: what is the same of all is one launch.

A launch costs a device some microseconds however little it does, and a graph of 16 frames has
thousands. Each frame's work is asked for by a thread of its own, as if it were alone; at every
operation it waits for the others, and the thread that called asks the device for all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

G = TypeVar("G")
R = TypeVar("R")
T = TypeVar("T")

#: The company that this thread keeps, and its place in it.
_now = threading.local()


@dataclass(frozen=True)
class _Asked:
    """An operation that one of the threads has come to."""

    kind: Hashable
    together: Callable[[list[Any]], list[Any]]
    given: Any


class _Company:
    """Threads in step, and the one that called them, which does what they ask for."""

    def __init__(self, number: int) -> None:
        self._gate = threading.Barrier(number + 1)
        #: What each has come to; None for one that is done.
        self.asked: list[_Asked | None] = [None] * number
        self.made: list[Any] = [None] * number
        self.errors: list[BaseException] = []

    def step(self) -> None:
        """Wait until all have come, or until all may go on."""
        self._gate.wait()

    def part(self) -> None:
        """Let nobody wait any more."""
        self._gate.abort()

    def meet(self, place: int, asked: _Asked) -> Any:
        """Give what is made of what one of the threads asks for."""
        self.asked[place] = asked
        self.step()
        self.step()
        return self.made[place]

    def conduct(self) -> None:
        """Do what all ask for, until all are done."""
        while True:
            self.step()
            asked = [one for one in self.asked if one is not None]
            if not asked:
                return
            kinds = {one.kind for one in asked}
            if len(asked) < len(self.asked) or len(kinds) > 1:
                raise RuntimeError(f"frames are not in step at {kinds}: report this as a fault")
            self.made = asked[0].together([one.given for one in asked])
            self.step()


def in_step(kind: Hashable, together: Callable[[list[G]], list[R]], given: G) -> R:
    """Ask for an operation, with the same of the other threads where there are any.

    Parameters
    ----------
    kind
        What must be the same of all.
    together
        Does it for some of them, and gives what it makes of each.
    given
        This thread's own.
    """
    company = getattr(_now, "company", None)
    if company is None:
        return together([given])[0]
    made: R = company[0].meet(company[1], _Asked(kind, together, given))
    return made


def each(given: Sequence[Callable[[], R]]) -> list[R]:
    """Do one after the other what has no operation for several."""
    return [do() for do in given]


def abreast(
    works: Sequence[Callable[[], T]], here: Callable[[], AbstractContextManager[object]]
) -> list[T]:
    """Give what works make that ask for the same operations.

    Parameters
    ----------
    works
        Each is done by a thread of its own.
    here
        What these threads enter, so that they work where this one does.

    Raises
    ------
    RuntimeError
        They do not ask for the same.
    """
    if len(works) == 1:
        return [works[0]()]
    company, made = _Company(len(works)), dict[int, T]()

    def run(place: int) -> None:
        _now.company = company, place
        try:
            with here():
                made[place] = works[place]()
            company.asked[place] = None
            company.step()
        except threading.BrokenBarrierError:
            pass  # what went wrong is told elsewhere
        except BaseException as error:  # noqa: BLE001  (raised by the thread that called)
            company.errors.append(error)
            company.part()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    try:
        company.conduct()
    except threading.BrokenBarrierError:
        raise company.errors[0] from None
    finally:
        company.part()
        for thread in threads:
            thread.join()
    return [made[place] for place in range(len(works))]
