"""The publisher's background thread: it alone touches the socket and the outbox."""

from __future__ import annotations

import contextlib
import logging
import socket as sockets
import threading
import time
from collections import deque
from collections.abc import Callable

import zmq
from zmq.utils.monitor import recv_monitor_message

from latticewatch.client.errors import MessageError, SpoolError
from latticewatch.client.keys import Keys
from latticewatch.client.outbox import Block, Key, Outbox
from latticewatch.client.records import Entry
from latticewatch.client.replies import Reply, parse_reply

log = logging.getLogger(__name__)

#: A peer that is silent for three heartbeats is gone: a pulled cable is noticed after 6 s.
HEARTBEAT_MS = 2000

#: Between attempts to connect: short beside a frame, long beside a round trip.
RECONNECT_MS, RECONNECT_MAX_MS = 100, 2000

#: Pause before a full disk is tried again.
RETRY_S = 1.0

THREAD_NAME = "latticewatch-publisher"

_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _REFUSED


class Link:
    """Thread that sends what the outbox holds and takes replies in.

    Parameters
    ----------
    endpoint
        The service's frame port.
    outbox
        Touched by this thread alone once it runs.
    on_reply
        Called on the thread with every reply.
    ack_timeout_s
        Silence after which everything in flight is sent again over a new connection.
    on_failure
        Called on the thread when it dies of `failure`.
    keys
        For a service that asks for them.
    """

    def __init__(
        self,
        endpoint: str,
        outbox: Outbox,
        on_reply: Callable[[Reply], None],
        ack_timeout_s: float,
        on_failure: Callable[[], None],
        keys: Keys | None = None,
    ) -> None:
        self.failure: BaseException | None = None
        self.spool_failure: OSError | None = None
        self.connected = self.refused = False
        self.handed_bytes = 0
        self._left_out: Key | None = None
        self._endpoint = endpoint
        self._keys = keys
        self._outbox = outbox
        self._on_reply = on_reply
        self._on_failure = on_failure
        self._ack_timeout_s = ack_timeout_s
        self._handed: deque[Entry | Block] = deque()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._left = 0
        self._heard = time.monotonic()
        self._retry_at = 0.0
        self._bell_in, self._bell_out = sockets.socketpair()
        self._bell_in.setblocking(False)
        self._bell_out.setblocking(False)
        self._context = zmq.Context()
        self._thread = threading.Thread(
            target=self._main, name="latticewatch-publisher", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def hand_over(self, entry: Entry | Block) -> None:
        """Queue a message, or rows of the next, from any thread."""
        with self._lock:
            self._handed.append(entry)
            self.handed_bytes += entry.nbytes
        self._ring()

    def leave_out(self, epoch: int, seq: int) -> None:
        """Have it noted that a number was given and its frame not kept, from any thread."""
        self._left_out = (epoch, seq)
        self._ring()

    def stop(self) -> int:
        """End the thread; return how many messages were not settled."""
        self._stopping.set()
        self._ring()
        self._thread.join()
        self._bell_in.close()
        self._bell_out.close()
        return self._left

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the bell is full of rings already
            self._bell_in.send(b"!")

    def _main(self) -> None:
        try:
            while not self._stopping.is_set():
                self._connection()
                self._stopping.wait(RECONNECT_MS / 1000)
        except Exception as error:  # noqa: BLE001 - the thread's owner raises it
            self.failure = error
        finally:
            self.connected = False
            try:
                self._leave()
            finally:
                self._context.destroy(linger=0)
                if self.failure is not None:
                    self._on_failure()

    def _leave(self) -> None:
        """Keep what is not settled for the next process."""
        self._note_left_out()
        try:
            while self._handed:
                entry = self._handed.popleft()
                if isinstance(entry, Entry):
                    self._outbox.put(entry)
            self._left = self._outbox.save()
        except (OSError, SpoolError) as error:
            self.failure = self.failure or error
            self._left = len(self._outbox) + len(self._handed)
        if self._outbox.spool is not None:
            self._outbox.spool.close()

    def _connection(self) -> None:
        """Run one socket from its making to its loss.

        A new socket after each loss drops what the old one still had queued, so that the messages
        in flight go out again in order.
        """
        socket = self._context.socket(zmq.DEALER)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.IMMEDIATE, 1)
        socket.set(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        socket.set(zmq.HEARTBEAT_TIMEOUT, 3 * HEARTBEAT_MS)
        socket.set(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.set(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        socket.set(zmq.SNDHWM, 0)  # the window bounds it
        if self._keys is not None:
            self._keys.apply(socket)
        monitor = socket.get_monitor_socket(_EVENTS)
        socket.connect(self._endpoint)
        self._outbox.rewind()
        try:
            while not self._stopping.is_set() and self._step(socket, monitor):
                pass
        finally:
            self.connected = False
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.close(linger=0)

    def _step(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> bool:
        """Wait for something and deal with it; False when a new connection is needed."""
        poller = zmq.Poller()
        for source in (socket, monitor, self._bell_out):
            poller.register(source, zmq.POLLIN)
        ready = dict(poller.poll(self._patience_ms()))
        if self._bell_out.fileno() in ready:
            self._bell_out.recv(4096)
        if monitor in ready:
            event = recv_monitor_message(monitor)["event"]
            if event & _REFUSED:
                self._note_refusal()
                return True  # ZeroMQ goes on trying: the key may be allowed meanwhile
            if event == zmq.EVENT_DISCONNECTED:
                return False
            self.connected, self.refused = True, False
            self._heard = time.monotonic()
        if socket in ready:
            self._receive(socket)
        if not self._outbox.in_flight:
            self._heard = time.monotonic()  # silence counts from the first unanswered message
        self._collect()
        if self.connected:
            self._transmit(socket)
        silent = time.monotonic() - self._heard > self._ack_timeout_s
        return not (silent and self._outbox.in_flight)

    def _note_refusal(self) -> None:
        """Say once that the service does not let this source in."""
        if not self.refused:
            self.refused = True
            log.warning(
                "%s does not let this source in; frames are kept. Its owner allows a key with "
                "'latticewatch keys allow NAME.key publish'; %s",
                self._endpoint,
                "check service.key too" if self._keys else "give Publisher keys",
            )

    def _patience_ms(self) -> int | None:
        if self._handed and self.spool_failure:
            return int(1000 * RETRY_S)
        if not self._outbox.in_flight:
            return None
        left = self._heard + self._ack_timeout_s - time.monotonic()
        return max(1, int(1000 * left) + 1)

    def _receive(self, socket: zmq.Socket[bytes]) -> None:
        try:
            while True:
                parts = socket.recv_multipart(zmq.NOBLOCK)
                self._heard = time.monotonic()
                try:
                    self._on_reply(parse_reply(parts[-1]))
                except MessageError as error:
                    log.warning("%s: %s", self._endpoint, error)
        except zmq.Again:
            return

    def _collect(self) -> None:
        """Move what was handed over into the outbox; a full disk is tried again later."""
        self._note_left_out()
        if self.spool_failure and time.monotonic() < self._retry_at:
            return
        while self._handed:
            entry = self._handed[0]
            try:
                if isinstance(entry, Block):
                    self._outbox.put_rows(entry, connected=self.connected)
                else:
                    self._outbox.put(entry)
            except OSError as error:
                self.spool_failure = error
                self._retry_at = time.monotonic() + RETRY_S
                return
            with self._lock:
                self._handed.popleft()
                self.handed_bytes -= entry.nbytes
        self.spool_failure = None

    def _note_left_out(self) -> None:
        left_out, self._left_out = self._left_out, None
        if left_out is not None:
            with contextlib.suppress(OSError):  # so many are reserved ahead that the next will do
                self._outbox.leave_out(*left_out)

    def _transmit(self, socket: zmq.Socket[bytes]) -> None:
        while (message := self._outbox.take_rows() or self._outbox.take()) is not None:
            parts = [message.header, message.buffer] if message.buffer else [message.header]
            try:
                socket.send_multipart(parts, zmq.NOBLOCK)
            except zmq.Again:  # the peer has gone; its DISCONNECTED event is on the way
                self.connected = False
                return
