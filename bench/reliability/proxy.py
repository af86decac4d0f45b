"""A TCP proxy with weather: delay, stalls, throttling, cuts in mid-message, outages. No root.

What a lossy network does to packets TCP turns into time: a lost one is sent again after a timeout,
and all behind it waits. So loss and reordering are stalls here, and what is delivered stays in
order.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from random import Random
from types import TracebackType
from urllib.parse import urlsplit

CHUNK_BYTES = 16 * 1024

#: Chunks that are under way in one direction: 4 MiB, more than a window of frames.
UNDER_WAY = 256

#: Closes a connection with a reset in place of a farewell.
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Weather:
    """What a connection goes through.

    Attributes
    ----------
    delay_s
        One way.
    stall_share, stall_s
        Share of the chunks that come so much later, and with them all behind.
    bytes_per_s
        In each direction; None for no limit.
    """

    delay_s: float = 0.0
    stall_share: float = 0.0
    stall_s: float = 0.0
    bytes_per_s: float | None = None


class Proxy:
    """Forwards connections to a service; use as an async context manager.

    Parameters
    ----------
    target
        Address of the service, ``tcp://127.0.0.1:7701``.
    rng
        Says which chunks stall.
    """

    def __init__(self, target: str, rng: Random) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._rng = rng
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._left: int | None = None
        self.was_cut = asyncio.Event()
        self.weather = Weather()
        self.cuts = 0

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        self._reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"tcp://127.0.0.1:{self._port}"

    def cut_after(self, nbytes: int) -> None:
        """Reset every connection once so many more bytes have gone up; `was_cut` tells when."""
        self.was_cut.clear()
        self._left = nbytes

    async def outage(self, seconds: float) -> None:
        """Reset every connection and refuse new ones for so long."""
        self._server.close()
        self._reset()
        await self._server.wait_closed()
        await asyncio.sleep(seconds)
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self._port)

    async def silence(self, seconds: float) -> None:
        """Let nothing through for so long, as with a pulled cable: nobody is told."""
        self._passing.clear()
        await asyncio.sleep(seconds)
        self._passing.set()

    async def _accepted(self, near: asyncio.StreamReader, up: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs it in one
        self._tasks.add(task)
        try:
            far, down = await asyncio.open_connection(*self._target)
        except OSError:
            up.transport.abort()
            return
        finally:
            self._tasks.discard(task)
        both = (up, down)
        self._writers.update(both)
        self._begin(self._carry(near, down, both, counted=True))
        self._begin(self._carry(far, up, both, counted=False))

    def _begin(self, part) -> None:
        task = asyncio.ensure_future(part)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, ...],
        *,
        counted: bool,
    ) -> None:
        """Carry one direction until either side is gone; then both are."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY)
        out = asyncio.ensure_future(self._deliver(queue, sink, counted=counted))
        loop = asyncio.get_running_loop()
        try:
            while not out.done() and (data := await source.read(CHUNK_BYTES)):
                weather = self.weather
                stall = weather.stall_s * (self._rng.random() < weather.stall_share)
                await queue.put((loop.time() + weather.delay_s + stall, data))
        except OSError:
            pass
        finally:
            out.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await out
            for writer in both:
                self._writers.discard(writer)
                writer.transport.abort()

    async def _deliver(
        self,
        queue: asyncio.Queue[tuple[float, bytes]],
        sink: asyncio.StreamWriter,
        *,
        counted: bool,
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._passing.wait()
            if counted and self._left is not None:
                data, self._left = data[: self._left], self._left - len(data)
            sink.write(data)
            await sink.drain()
            if self._left is not None and self._left <= 0:
                self._left = None
                self.was_cut.set()
                self._reset()
                return
            if self.weather.bytes_per_s is not None:
                await asyncio.sleep(len(data) / self.weather.bytes_per_s)

    def _reset(self) -> None:
        """Reset every connection, whatever is under way on it."""
        self.cuts += bool(self._writers)
        for writer in list(self._writers):
            handle = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
