"""What a recording holds."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rerun", reason="the viewer needs rerun-sdk")
from rerun.chunk import RrdReader


def rows(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows by entity, each with its frame and components; static ones have no frame."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for chunk in RrdReader(file).stream():
        for row in chunk.to_record_batch().to_pylist():
            found[chunk.entity_path.strip("/")].append(row)
    return found


def frames(file: Path, entity: str) -> list[int]:
    """Frames at which something was logged to an entity."""
    return sorted(row["frame"] for row in rows(file)[entity] if "frame" in row)
