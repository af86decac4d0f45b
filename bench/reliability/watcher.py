"""A subscriber that may be killed at any moment: its file ends with what it has seen.

    python watcher.py RESULTS_PORT QUERIES_PORT FILE

One line a frame: its number and a checksum of its defects. What was missed is asked from the store.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import BinaryIO

from latticewatch.client import Defects, DefectTable, QueryError, Subscriber

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reliability.movie import STREAM

#: Silence after which the store is asked whether the epoch has ended, seconds.
SILENCE_S = 1.0


def checksum(table: DefectTable) -> int:
    """CRC-32 of the rows, every digit of them."""
    return zlib.crc32(repr(table.to_rows()).encode())


def lines_of(table: DefectTable, first: int, last: int) -> list[str]:
    """Lines of the frames from `first` to `last`, both included."""
    return [f"{k} {checksum(table.select(table.frame == k))}" for k in range(first, last + 1)]


def main(results: str, queries: str, path: str) -> None:
    """Follow the stream to its end."""
    with (
        open(path, "ab+") as file,  # noqa: PTH123 - appended to in binary, read first
        Subscriber(results, STREAM, ("defects",), queries) as subscriber,
    ):
        last = _continued(file)
        while True:
            try:
                message = subscriber.receive(SILENCE_S)
            except TimeoutError:
                message = None
            try:
                if isinstance(message, Defects) and message.frame > last:
                    last = _fill(file, subscriber, last, message.frame - 1)
                    last = _write(file, lines_of(message.table, message.frame, message.frame), last)
                elif message is None:
                    place = subscriber.queries.snapshot(STREAM)
                    last = _fill(file, subscriber, last, place["frame"])
                    if place["ended"]:
                        return
            except QueryError as error:  # the service is away: what came is asked for later
                print(f"watcher: {error}", file=sys.stderr)


def _continued(file: BinaryIO) -> int:
    """Cut off half a line that a kill has left; return the last frame, or -1."""
    file.seek(0)
    whole = file.read()
    whole = whole[: whole.rfind(b"\n") + 1]
    file.truncate(len(whole))
    return int(whole.splitlines()[-1].split()[0]) if whole else -1


def _fill(file: BinaryIO, subscriber: Subscriber, last: int, until: int) -> int:
    """Ask for what was missed up to and with the frame `until`."""
    if until <= last:
        return last
    table = subscriber.queries.defects(STREAM, last + 1, until)
    return _write(file, lines_of(table, last + 1, until), last)


def _write(file: BinaryIO, lines: list[str], last: int) -> int:
    for line in lines:
        file.write(f"{line}\n".encode())
        file.flush()
    return last + len(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
