"""A source that may be killed at any moment and started again: it goes on where it was.

    python source.py MOVIE.npy FRAMES_PORT QUERIES_PORT SPOOL

Every frame goes to the spool before it is sent, so that a frame is either in the spool, or
committed, or was never handed over. What the spool does not know the service does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from latticewatch.client import FrameError, Publisher, PublisherFullError, QueryClient, QueryError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reliability.movie import EPOCH, STREAM, fields_of

#: Patience with the query port, seconds: the service may be starting, stopped, or gone.
ASK_S = 2.0

#: A service that is silent for so long has lost the frames that it had in hand.
ACK_TIMEOUT_S = 5.0


def main(movie: str, endpoint: str, queries: str, spool: str) -> None:
    """Send what service and spool do not have yet, then the end, and wait for the answer."""
    images = np.load(movie, mmap_mode="r")
    options = {"spool_dir": spool, "spool_first": True, "ack_timeout_s": ACK_TIMEOUT_S}
    try:
        publisher = Publisher(endpoint, STREAM, EPOCH, **options)
    except FrameError:  # the end waits in the spool: nothing is to be added
        publisher = Publisher(endpoint, STREAM, **options)
        _finish(publisher)
        return
    seq, ended = publisher.next_seq, False
    if not seq:
        seq, ended = _committed(queries)
    if not ended:
        # one that is committed may be sent again; the end then knows how many there were
        for number in range(min(seq, len(images) - 1), len(images)):
            _send(publisher, images[number], number)
        publisher.end()
    _finish(publisher)


def _send(publisher: Publisher, image: np.ndarray, number: int) -> None:
    if number < publisher.next_seq:
        return
    while True:
        try:
            publisher.send(image, seq=number, **fields_of(number))
        except PublisherFullError:
            publisher.flush(ASK_S)
        else:
            return


def _finish(publisher: Publisher) -> None:
    while not publisher.flush(ASK_S):
        pass
    errors = list(publisher.errors)
    publisher.close()
    if errors:
        raise SystemExit(f"refused: {errors}")


def _committed(queries: str) -> tuple[int, bool]:
    """Next sequence number as the service has it, and whether the epoch has ended."""
    client = QueryClient(queries, ASK_S)
    while True:
        try:
            if STREAM not in client.streams():
                return 0, False
            place = client.snapshot(STREAM)
        except QueryError as error:
            print(f"source: {error}", file=sys.stderr)
            continue
        return place["seq"], place["ended"]


if __name__ == "__main__":
    main(*sys.argv[1:])
