"""Messages as the service publishes them, through the wire, and what was drawn as values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from latticewatch.client.messages import (
    Defects,
    DefectTable,
    Message,
    Overlay,
    PartialOverlay,
    Statistics,
    decode,
    encode,
)

pytest.importorskip("rerun", reason="the viewer needs rerun-sdk")
from latticewatch.viewer.drawing import Drawing

SHAPE = (64, 96)

#: track, x, y, species, state
ROWS = (
    (7, 10.0, 20.0, "MoW", "MoW"),
    (8, 30.0, 5.0, "MoW", "MoW+VS/1"),
    (9, 50.5, 40.25, "VS", ""),
)


def table(frame: int, rows=ROWS, pixel_nm: float = 0.03, drift=(0.0, 0.0)) -> DefectTable:
    return DefectTable.from_rows(
        (
            frame, 0.5 * frame, track, x, y, (x - drift[0]) * pixel_nm, (y - drift[1]) * pixel_nm,
            0, 0, 0, 0.97, 2, 0.88, species, state,
        )
        for track, x, y, species, state in rows
    )  # fmt: skip


def common(frame: int, **fields: Any) -> dict[str, Any]:
    stamps = {"sent_s": 1000.0 + frame, "published_s": 1000.05 + frame}
    return {
        "stream": "s", "epoch": 1, "frame": frame, "time_s": 0.5 * frame, "run": 5, "seq": 1,
        **stamps, **fields,
    }  # fmt: skip


def through_the_wire(message: Message) -> Any:
    return decode(encode(message))


def overlay(frame: int, of: DefectTable | None = None, shape=SHAPE, block=1, **fields) -> Overlay:
    of = table(frame) if of is None else of
    image = np.random.default_rng(frame).integers(0, 255, shape, np.uint8)
    return through_the_wire(
        Overlay(
            image=image,
            frame_shape=(shape[0] * block, shape[1] * block),
            points=np.stack([of.x_px, of.y_px], axis=-1).astype(np.float32),
            labels=[state or name for name, state in zip(of.species, of.state, strict=True)],
            tracks=of.track,
            **common(frame, **fields),
        )
    )


def partial(frame: int, rows_done: int, block=1, rows=ROWS, **fields) -> PartialOverlay:
    image = np.random.default_rng(frame).integers(0, 255, (rows_done // block, SHAPE[1]), np.uint8)
    seen = [(x, y, state or name) for _, x, y, name, state in rows if y < rows_done]
    return through_the_wire(
        PartialOverlay(
            image=image,
            frame_shape=(SHAPE[0] * block, SHAPE[1] * block),
            points=np.array([[x, y] for x, y, _ in seen], np.float32).reshape(-1, 2),
            labels=[label for _, _, label in seen],
            rows_done=rows_done,
            **common(frame, **fields),
        )
    )


def defects(frame: int, of: DefectTable | None = None, **fields) -> Defects:
    of = table(frame) if of is None else of
    return through_the_wire(Defects(table=of, **common(frame, **fields)))


def statistics(frame: int, data: dict[str, Any], **fields) -> Statistics:
    return through_the_wire(Statistics(data=data, **common(frame, **fields)))


def components(drawing: Drawing, entity: str) -> dict[str, list[Any]]:
    """Values logged to an entity, by component without its archetype's name."""
    found: dict[str, list[Any]] = {}
    for path, content in (*drawing.static, *drawing.entries):
        if path.strip("/") == entity:
            for batch in content.as_component_batches():
                name = batch.component_descriptor().component.split(":")[-1]
                found[name] = pa.array(batch.as_arrow_array()).to_pylist()
    return found


def entities(drawing: Drawing) -> set[str]:
    return {path.strip("/") for path, _ in drawing.entries}


def colour_of(value: int) -> str:
    """``#rrggbb`` of a Rgba32 as Rerun packs it."""
    return f"#{value >> 8:06X}"
