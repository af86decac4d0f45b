"""The source's half of the feed: hand frames over, and forget them once they are counted."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latticewatch.client import checks, room
from latticewatch.client.addresses import check_endpoint
from latticewatch.client.epochs import begun, last_kept
from latticewatch.client.errors import FrameError, PublisherError
from latticewatch.client.frames import EndHeader, checked_header, encode_frame, pack_header
from latticewatch.client.growing import GrowingFrame, growing_header
from latticewatch.client.keys import Keys, keys_of
from latticewatch.client.link import Link
from latticewatch.client.outbox import Block, Outbox
from latticewatch.client.records import Entry
from latticewatch.client.replies import Ack, Ended, ErrorReply, Reply, SendAgain
from latticewatch.client.syncing import Policy
from latticewatch.client.tally import PublisherStats, Tally

log = logging.getLogger(__name__)

#: Rejections that `Publisher.errors` keeps.
KEPT_ERRORS = 1000


class Publisher:
    """Sends the frames of one stream to the service; `send` hands over a copy and returns.

    Parameters
    ----------
    endpoint
        The service's frame port, ``tcp://127.0.0.1:7701``.
    stream
        Name of the stream: 1 to 64 letters, digits, ``.``, ``_``, ``-``.
    epoch
        Number of the run of sequence numbers. Drawn anew when None, except that a spool left by a
        process that died is continued under its own epoch.
    memory_bytes
        Frames kept in memory until acknowledged; while frames move to the spool, as much again.
    spool_dir, spool_bytes
        Folder for frames beyond that, and their limit on disk.
    when_full, thin_every
        ``refuse``: `send` raises when spool (without one: memory) is full. ``thin``: from half full
        on, only every `thin_every`-th frame is kept, and none while it is full; the others count as
        missing at the service. Frames handed over row by row are refused in either case.
    spool_first
        Every frame goes through the spool: what was sent by a process that is killed is there.
    spool_fsync
        ``always``: a frame in the spool is on the disk before it is sent; ``interval``: once a
        second, and a power cut may take back what came since; ``never``: as the system pleases, and
        after a power cut the next publisher must be given a new `epoch`.
    in_flight
        Most frames that are on the wire and unacknowledged, 1 to 64.
    ack_timeout_s
        After so long without any reply while frames are in flight, the connection is made anew and
        they are sent again.
    on_error
        Called from the background thread with the `ErrorReply` of each rejected frame; it must not
        wait for the publisher.
    keys
        For a service that asks for them: `Keys`, or the folder that ``latticewatch keys new`` made.

    Raises
    ------
    FrameError
        The stream's name or the epoch cannot be used.
    SpoolError
        Another publisher uses the spool, or it is damaged.
    ValueError
        The endpoint is no address, `spool_first` lacks a spool, `in_flight` is out of bounds, keys
        are wrong (`KeyFileError`).
    """

    def __init__(
        self,
        endpoint: str,
        stream: str = "stem",
        epoch: int | None = None,
        *,
        memory_bytes: int = room.MEMORY_BYTES,
        spool_dir: str | Path | None = None,
        spool_bytes: int = room.SPOOL_BYTES,
        spool_first: bool = False,
        spool_fsync: Policy = "always",
        when_full: room.Policy = "refuse",
        thin_every: int = 10,
        in_flight: int = room.IN_FLIGHT,
        ack_timeout_s: float = 30.0,
        on_error: Callable[[ErrorReply], None] | None = None,
        keys: Keys | str | Path | None = None,
    ) -> None:
        check_endpoint(endpoint)
        known, window = keys_of(keys), room.checked_window(in_flight)
        self.stream = checks.stream_name(stream)
        self._gate = room.Gate(self.stream, when_full, thin_every)
        self.errors: deque[ErrorReply] = deque(maxlen=KEPT_ERRORS)
        self._on_error = on_error
        if spool_first and spool_dir is None:
            raise ValueError("spool_first needs a spool: give a spool_dir")
        spool, self.epoch, self._next_seq = begun(
            spool_dir, stream, spool_bytes, spool_fsync, epoch
        )
        self._outbox = Outbox(window, 0 if spool_first else memory_bytes, spool)
        self._changed = threading.Condition()
        self._last_kept = last_kept(spool, self.epoch, self._next_seq)
        self._tally = Tally(len(self._outbox), spool.live_bytes if spool else 0)
        self._ended = self._closed = False
        self._link = Link(endpoint, self._outbox, self._settle, ack_timeout_s, self._failed, known)
        self._growing: GrowingFrame | None = None
        self._reserved = 0
        self._room = room.Room(memory_bytes, self._outbox, self._link)
        self._link.start()

    def send(
        self,
        frame: np.ndarray,
        *,
        seq: int | None = None,
        time_s: float | None = None,
        pixel_size_nm: float | None = None,
        frame_time_s: float | None = None,
        dose_e_per_A2: float | None = None,  # noqa: N803 - the name of the wire format
        detector: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """Hand a frame over and return its sequence number; never waits for the network or a disk.

        Parameters
        ----------
        frame
            (rows, columns), 64 to 8192 a side, of one of the detector types; it is copied.
        seq
            Place in the epoch; the next one when None. A number left out is a missing frame.
        time_s
            Time of acquisition, seconds; the Unix time of the call when None.
        pixel_size_nm, frame_time_s, dose_e_per_A2, detector, metadata
            As in `FrameHeader`.

        Raises
        ------
        FrameError
            The service would reject the frame.
        PublisherFullError
            Neither memory nor spool has room, and the policy is to refuse: nothing was taken.
        PublisherError
            The publisher is closed, its epoch has ended, or its thread has failed.
        """
        with self._changed:
            self._check_open()
            number = self._number(seq)
            header, buffer = encode_frame(
                frame,
                stream=self.stream,
                epoch=self.epoch,
                seq=number,
                time_s=time_s,
                pixel_size_nm=pixel_size_nm,
                frame_time_s=frame_time_s,
                dose_e_per_A2=dose_e_per_A2,
                detector=detector,
                metadata=dict(metadata or {}),
            )
            entry = Entry(self.epoch, number, header, buffer)
            if self._gate.takes(self._room.stock(self._tally.pending_bytes), entry.nbytes):
                self._hand_over(entry)
            else:
                self._next_seq = room.step_over(number, self._last_kept)
                self._link.leave_out(self.epoch, number)
            return number

    def frame(
        self, shape: tuple[int, int], dtype: npt.DTypeLike, *, seq: int | None = None, **fields: Any
    ) -> GrowingFrame:
        """Begin a frame that is handed over while it is acquired: ``with publisher.frame(...)``.

        It counts when it is complete, and is kept, and sent again, as a whole. Rows that come while
        the service is away or behind do not go ahead of it.

        Parameters
        ----------
        shape, dtype
            Of the whole frame.
        seq, **fields
            As in `send`, by name; `time_s` is the time at which the frame begins.

        Raises
        ------
        FrameError, PublisherFullError, PublisherError
            As in `send`, for the whole frame; or the one before is not complete.
        """
        with self._changed:
            self._check_open()
            place = (self.stream, self.epoch, self._number(seq))
            header = growing_header(place, shape, dtype, fields)
            self._reserved = len(checked_header(header)) + header.nbytes
            self._room.check(self._reserved, self._tally.pending_bytes)
            self._tally.pending_bytes += self._reserved
            self._growing = GrowingFrame(header, self._hand_rows, self._finish)
            return self._growing

    def end(self) -> None:
        """Say that the epoch is over; the service closes the tracks and writes the statistics.

        Goes out after the last frame; `flush` waits for it too.
        """
        with self._changed:
            self._check_open()
            self._ended = True
            end = EndHeader(self.stream, self.epoch, self._next_seq)
            self._hand_over(Entry(self.epoch, self._next_seq, pack_header(end), b""))

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything is acknowledged or rejected; False if `timeout` seconds were short.

        Raises
        ------
        PublisherError
            The background thread has failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._tally.pending or self._link.failure, timeout)
            self._check_thread()
            return not self._tally.pending

    def close(self, timeout: float = 0.0) -> None:
        """Wait up to `timeout` seconds for acknowledgements, then stop.

        What is not acknowledged then stays in the spool for the next publisher; without a spool it
        is lost, and a warning says how much.

        Raises
        ------
        PublisherError
            The background thread has failed, be it in writing the spool.
        """
        if self._closed:
            return
        try:
            if timeout > 0:
                self.flush(timeout)
        finally:
            self._closed = True
            left = self._link.stop()
        self._check_thread()
        if left and self._outbox.spool is None:
            log.warning("%d messages of %s were never acknowledged: lost", left, self.stream)

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(timeout=10.0 if kind is None else 0.0)

    @property
    def stats(self) -> PublisherStats:
        """Counts up to now."""
        with self._changed:
            return PublisherStats(
                sent=self._tally.sent,
                acked=self._tally.acked,
                rejected=self._tally.rejected,
                resent=self._outbox.resent,
                spooled=self._outbox.spooled,
                left_out=self._gate.left_out,
                pending=self._tally.pending,
                connected=self._link.connected,
            )

    @property
    def next_seq(self) -> int:
        """Sequence number that the next frame will have."""
        return self._next_seq

    def _check_open(self, *, growing: bool = False) -> None:
        self._check_thread()
        if self._growing is not None and not growing and not self._closed:
            raise PublisherError(f"frame {self._growing.seq} is being acquired: complete it first")
        if self._closed or self._ended:
            state = "closed" if self._closed else "at its end"
            raise PublisherError(f"the publisher of {self.stream} is {state}: make a new one")

    def _check_thread(self) -> None:
        failure = self._link.failure
        if failure is not None:
            raise PublisherError(f"the publisher's thread failed: {failure}") from failure

    def _number(self, seq: int | None) -> int:
        number = self._next_seq if seq is None else checks.natural("seq", seq)
        if number < self._next_seq:
            reason = f"{number} was used before, the next is {self._next_seq}"
            raise FrameError("seq", reason, "count upwards, or start a new epoch")
        return number

    def _hand_rows(self, block: Block) -> None:
        self._check_open(growing=True)
        self._link.hand_over(block)

    def _finish(self, entry: Entry | None) -> None:
        """Take the frame that was acquired; None gives it up."""
        with self._changed:
            self._growing = None
            self._tally.pending_bytes -= self._reserved
            if entry is not None:
                self._check_open()
                self._hand_over(entry)

    def _hand_over(self, entry: Entry) -> None:
        self._last_kept = entry.seq
        self._next_seq = entry.seq + 1
        self._tally.hand_over(entry)
        self._link.hand_over(entry)

    def _settle(self, reply: Reply) -> None:
        """Take a reply in, on the background thread."""
        if reply.stream not in (None, self.stream):
            return
        if isinstance(reply, Ack):
            self._forget([(reply.epoch, seq) for seq in reply.seqs], acked=True)
        elif isinstance(reply, SendAgain):
            self._outbox.again((reply.epoch, reply.seq))
        elif isinstance(reply, Ended):
            self._forget(self._outbox.end_keys(reply.epoch), acked=None)
        else:
            self.errors.append(reply)
            if reply.epoch is not None and reply.seq is not None:
                self._forget([(reply.epoch, reply.seq)], acked=False)
            if self._on_error is not None:
                self._on_error(reply)

    def _forget(self, keys: list[tuple[int, int]], *, acked: bool | None) -> None:
        settled = [entry for key in keys if (entry := self._outbox.settle(key)) is not None]
        with self._changed:
            self._tally.settle(settled, acked=acked)
            self._changed.notify_all()

    def _failed(self) -> None:
        with self._changed:
            self._changed.notify_all()
