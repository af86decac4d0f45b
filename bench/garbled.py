"""Messages of every kind, and mutations of them: drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from latticewatch.client import messages
from latticewatch.client.frames import EndHeader, encode_frame, pack_header
from latticewatch.client.replies import Ack, Ended, ErrorReply, pack_reply
from latticewatch.client.table import DefectTable
from latticewatch.client.wire import pack

Parts = list[bytes]

#: Side of the frames: the least that is taken.
SIDE = 64

#: Heads of msgpack values that claim to be vast, or that end early.
HEADS = [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc1",
         b"\xdb\x7f\xff\xff\xff", b"\xcf" + b"\xff" * 8, b"\xcb\x7f\xf8" + bytes(6),
         b"\xc9\xff\xff\xff\xff\x01", b"\x91" * 600, b"\x81\xa1a" * 600]  # fmt: skip


def corpus() -> dict[str, list[Parts]]:
    """Whole messages, by who reads them."""
    image = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    told = {"beam": {"kV": 60.0, "apertures": [1, 2.5, None]}, "operator": "x" * 40}
    frames = [
        list(encode_frame(image.astype(dtype), stream=f"g{k}", epoch=k, seq=k, metadata=told))
        for k, dtype in enumerate(("uint8", "uint16", "float32"))
    ]
    place = {"stream": "g", "epoch": 1, "frame": 3, "time_s": 0.5}
    table = DefectTable(**{
        name: ["VS"] * 3 if name in ("species", "state") else np.arange(3)
        for name in DefectTable.empty().to_dict()
    })  # fmt: skip
    results = [
        messages.Defects(**place, table=table, timings_ms={"segment": 1.0}),
        messages.Statistics(**place, data={"populations": {"VS": {"now": 3.0}}, "list": [1, None]}),
        messages.Overlay(
            **place, image=image, frame_shape=(SIDE, SIDE), points=np.zeros((2, 2), np.float32),
            labels=["a", "b"], tracks=np.arange(2),
        ),
        messages.Alert(**place, rule="r", text="t", values={"v": 1}),
        messages.Health(values={"streams": {"g": 1}}),
    ]  # fmt: skip
    replies = [
        Ack("g", 1, (1, 2, 3)), Ended("g", 1), ErrorReply("seq", "late", "send in order", "g", 1, 2)
    ]  # fmt: skip
    queries = [
        {"op": op, "stream": "a", "first": 0, "last": 1}
        for op in ("streams", "snapshot", "defects", "frames", "checks", "alerts", "since")
    ]
    return {
        "frames": [*frames, [pack_header(EndHeader("g1", 1, 3))]],
        "results": [messages.encode(message) for message in results],
        "replies": [[pack_reply(reply)] for reply in replies],
        "queries": [[pack(query)] for query in queries],
    }


def mutated(rng: random.Random, parts: Parts) -> Parts:
    """One to four changes to a message."""
    parts = list(parts)
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.1:
            _mutate_parts(rng, parts)
        if parts:
            # the first part that is a header is where the meaning is
            k = rng.randrange(len(parts)) if rng.random() < 0.3 else min(len(parts) - 1, 1)
            k = 0 if rng.random() < 0.5 else k
            parts[k] = _mutate_bytes(rng, parts[k])
    return parts or [b""]


def _mutate_parts(rng: random.Random, parts: Parts) -> None:
    k = rng.randrange(len(parts)) if parts else 0
    kind = rng.randrange(3)
    if kind == 0 and parts:
        del parts[k]
    elif kind == 1 and parts:
        parts.insert(k, parts[k])
    else:
        parts.append(rng.randbytes(rng.randint(0, 40)))


def _mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    end = min(len(data), at + rng.choice([1, 1, 1, 2, 4, 16]))
    kind = rng.randrange(7)
    if kind == 0 and data:
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + rng.randbytes(end - at) + data[end:]
    if kind == 2:
        return data[:at] + data[end:]
    if kind == 3:
        return data[:at] + rng.randbytes(rng.randint(1, 8)) + data[at:]
    if kind == 4:
        return data[:at]
    if kind == 5:
        return data[:at] + rng.choice(HEADS) + data[end:]
    return data[:at] + data[at:end] * rng.randint(2, 9) + data[end:]


def mutations(count: int, seed: int, *readers: str) -> Iterator[tuple[str, Parts]]:
    """Mutated messages and who reads them."""
    rng, whole = random.Random(seed), corpus()  # noqa: S311 - no secret
    for _ in range(count):
        reader = rng.choice(readers)
        yield reader, mutated(rng, rng.choice(whole[reader]))
