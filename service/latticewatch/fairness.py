"""Worker threads shared by streams in turn: no stream waits behind the queue of another.

Every device has threads of its own, so that none waits for another device either.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

#: Jobs that a pool has beyond those that run, so that no thread waits for the event loop.
AHEAD = 1


class Workers(Protocol):
    """What runs the jobs of streams."""

    def submit(self, stream: str, function: Callable[..., T], *values: Any) -> asyncio.Future[T]:
        """Run a function on a thread."""


class FairWorkers:
    """Threads that take one job of each waiting stream in turn; use it on one event loop.

    Parameters
    ----------
    threads
        How many jobs run at a time.
    name
        Prefix of the threads' names.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._free = threads + AHEAD
        self._waiting: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()

    def submit(self, stream: str, function: Callable[..., T], *values: Any) -> asyncio.Future[T]:
        """Run a function on a thread when it is the stream's turn; its jobs run in order."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        start = partial(self._start, future, function, values)
        self._waiting.setdefault(stream, deque()).append(start)
        self._take_turns()
        return future

    def close(self) -> None:
        """Forget what waits, let what runs end."""
        self._waiting.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _take_turns(self) -> None:
        while self._free and self._waiting:
            stream, jobs = self._waiting.popitem(last=False)
            start = jobs.popleft()
            if jobs:
                self._waiting[stream] = jobs  # at the end: all others come first
            self._free -= 1
            start()

    def _start(
        self, future: asyncio.Future[T], function: Callable[..., T], values: tuple[Any, ...]
    ) -> None:
        job = asyncio.get_running_loop().run_in_executor(self._pool, function, *values)
        job.add_done_callback(partial(self._done, future))

    def _done(self, future: asyncio.Future[T], job: asyncio.Future[T]) -> None:
        self._free += 1
        if job.cancelled():
            future.cancel()
        elif not future.done():
            error = job.exception()
            if error is None:
                future.set_result(job.result())
            else:
                future.set_exception(error)
        self._take_turns()


class DeviceWorkers:
    """Fair workers for each device, made when its first job comes; use it on one event loop.

    Parameters
    ----------
    threads
        How many jobs of a device run at a time.
    name
        Prefix of the threads' names.
    device_of
        Names the device of a stream now. Jobs that wait when it changes stay where they are.
    """

    def __init__(self, threads: int, name: str, device_of: Callable[[str], str]) -> None:
        self._threads, self._name, self._device_of = threads, name, device_of
        self._workers: dict[str, FairWorkers] = {}

    def submit(self, stream: str, function: Callable[..., T], *values: Any) -> asyncio.Future[T]:
        """Run a function on a thread of the stream's device when it is the stream's turn."""
        device = self._device_of(stream)
        if device not in self._workers:
            self._workers[device] = FairWorkers(self._threads, f"{self._name}-{device}")
        return self._workers[device].submit(stream, function, *values)

    def close(self) -> None:
        """Forget what waits, let what runs end."""
        for workers in self._workers.values():
            workers.close()
