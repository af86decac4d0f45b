"""The example notebook runs, cell by cell, against a service with a stream."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from latticewatch.client.errors import PublisherError
from latticewatch.client.publisher import Publisher
from latticewatch.processes import running_service
from latticewatch_models.microscope import Microscope

NOTEBOOK = Path(__file__).parents[2] / "docs" / "examples" / "live_statistics.ipynb"

STREAM = "notebook"

#: Statistics that the notebook waits for, and more frames than that takes: then it has failed.
MESSAGES, MOST = 8, 400

WAIT_S = 60.0


def cells() -> list[tuple[str, str, list[str]]]:
    """Kind, source and tags of each cell."""
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (book["nbformat"], len({cell["id"] for cell in book["cells"]})) == (
        4,
        len(book["cells"]),
    )
    return [
        (cell["cell_type"], "".join(cell["source"]), cell["metadata"].get("tags", []))
        for cell in book["cells"]
    ]


def supply(endpoint: str, enough: threading.Event) -> None:
    """Send frames, each when the last is acknowledged, until the notebook has what it needs."""
    images = [frame.image for frame in Microscope("WS2", (128, 128), seed=4).frames(4)]
    with Publisher(endpoint, STREAM) as publisher:
        for number in range(MOST):
            if enough.is_set():
                return
            publisher.send(images[number % len(images)], time_s=float(number), pixel_size_nm=0.03)
            if not publisher.flush(WAIT_S):
                raise PublisherError(f"frame {number} was not acknowledged")


def test_the_notebook_runs_as_it_stands(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.setenv("MPLBACKEND", "agg")
    book, enough = cells(), threading.Event()
    names: dict = {"__name__": "__main__"}
    with running_service(tmp_path, "--alert", "population of MoW > 0") as (_, ports):
        sender = threading.Thread(target=supply, args=(ports["frames"], enough))
        sender.start()
        try:
            for kind, source, tags in book:
                if kind == "code":
                    exec(compile(source, NOTEBOOK.name, "exec"), names)  # noqa: S102
                if "parameters" in tags:
                    given = {"RESULTS": ports["results"], "QUERIES": ports["queries"]}
                    assert set(given) < set(names)
                    names.update(given, STREAM=STREAM, MESSAGES=MESSAGES)
        finally:
            enough.set()
            sender.join()
    statistics, defects, counts = names["statistics"], names["defects"], names["counts"]
    assert len(statistics) == MESSAGES
    assert isinstance(defects, pandas.DataFrame)
    assert counts.to_numpy().sum() == len(defects) > 0
    # the counts of the table are those of the statistics
    frame = counts.index.intersection(statistics.index)[-1]
    for species in counts.columns:
        assert counts.loc[frame, species] == statistics.loc[frame, f"populations.{species}.now"]
    assert len(names["earlier"]) > 0
    assert list(names["raised"]["rule"].unique()) == ["population of MoW > 0"]
    drawn = names["above"].get_lines()
    assert len(drawn) >= len(counts.columns)
    names["plt"].close("all")
