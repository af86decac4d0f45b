"""What the writer remembers of the segmenter comes back from the store as it was."""

from __future__ import annotations

import tempfile
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from latticewatch.agreement import Counts
from latticewatch.calibration import Calibration
from latticewatch.computed import Computed
from latticewatch.results import FrameResult
from latticewatch.segmenters import ModelRecord
from latticewatch.standing import Rule
from latticewatch.steps import Analysed
from latticewatch.storage.store import Store

RULE = Rule(every=2, window=3, limit=0.85, patience=2)
MODELS = [ModelRecord(name * 64, facts={"seed": k}) for k, name in enumerate("abc")]

counted = st.builds(Counts, st.integers(0, 40), st.integers(0, 40), st.integers(0, 9))


PLACES = [
    Computed("cuda", "cuda:0", "cuda:0", "float32"),
    Computed("cuda", "cuda:1", "cuda:1", "float32", "cuda:0 failed (unknown error)"),
    Computed("cpu", "host", "host", "float32", "cuda:1 failed (out of memory)"),
]


def step(frame: int, model: ModelRecord, counts: Counts | None, on: Computed | None) -> Analysed:
    """A frame as it comes from the workers, with what matters here."""
    agreement = counts if RULE.checks(frame) else None
    detections = SimpleNamespace(agreement=agreement, computed=on)
    return Analysed(SimpleNamespace(frame=frame), detections, model=model)


def commit(store: Store, now: Calibration, frame: int) -> None:
    model, computed = now.begun(frame)
    check = now.check_row(frame)
    row = FrameResult(frame, 1, frame, check=check, model=model, computed=computed)
    store.commit([row], b"", now.statistics())


def runs(places: list[int]) -> list[dict]:
    """The first frame of every run on one place, and the place; 3 tells nothing."""
    known = [(frame, place) for frame, place in enumerate(places) if place < len(PLACES)]
    return [
        {"frame": frame, **vars(PLACES[place])}
        for k, (frame, place) in enumerate(known)
        if k == 0 or known[k - 1][1] != place
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(counted, st.booleans(), st.integers(0, 3)), min_size=2, max_size=14),
    st.integers(1, 13),
)
def test_a_session_that_is_resumed_stands_where_it_stood(frames, cut):
    told = Calibration(RULE)
    model = 0
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(folder, fsync="never")
        try:
            for frame, (counts, another, place) in enumerate(frames):
                if frame == cut:
                    store.close()
                    store = Store.open(folder, fsync="never")
                    back = Calibration.resumed(store, RULE)
                    assert back.standing == told.standing
                    assert (back.model, back.since, dict(back.facts)) == (
                        told.model, told.since, dict(told.facts),
                    )  # fmt: skip
                    assert (back.computed, back.computed_since) == (
                        told.computed, told.computed_since,
                    )  # fmt: skip
                    told = back
                model = (model + another) % len(MODELS)
                told = told.after(step(frame, MODELS[model], counts, [*PLACES, None][place]))
                commit(store, told, frame)
                assert told.model == MODELS[model]
                assert all(check.frame >= told.since for check in told.standing.checks)
            assert store.computed() == runs([place for _, _, place in frames])
        finally:
            store.close()


def test_a_session_without_a_model_begins_with_nothing(tmp_path):
    with Store.open(tmp_path) as store:
        assert Calibration.resumed(store, RULE) == Calibration(RULE)
        assert "model" not in Calibration(RULE).statistics()
