"""Which model a frame gets, and which one a session goes on with."""

from __future__ import annotations

import hashlib
import shutil

import pytest

from latticewatch.analysis import Analyser
from latticewatch.segmenters import SELF_TRAINED, Model, ModelInUse, ModelRecord, keep, resumed
from latticewatch.standing import Rule
from latticewatch.storage.schema import StoreError
from latticewatch_models.runtime import ZOO_MODEL, Segmenter


def load(path):
    return Segmenter(path, threads=1)


@pytest.fixture(scope="module")
def shipped() -> Model:
    return Model.of(load(None), reason="the service was started with it")


@pytest.fixture
def own(tmp_path, shipped):
    """A session's own model: the shipped one with an entry more in its description."""
    source = tmp_path / "new.onnx"
    # a protobuf message that is continued: field 14 (metadata_props) with key "note.x", value "y"
    source.write_bytes(ZOO_MODEL.read_bytes() + b"\x72\x0b\x0a\x06note.x\x12\x01y")
    _, name = keep(source, tmp_path)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    return ModelRecord(digest, SELF_TRAINED, name, "better")


def test_a_model_is_kept_under_the_hash_of_its_content(tmp_path, shipped):
    path, name = keep(ZOO_MODEL, tmp_path)
    assert path == tmp_path / name
    assert path.stem == shipped.record.digest[:16]
    assert path.read_bytes() == ZOO_MODEL.read_bytes()
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]


def test_frames_get_the_model_that_is_in_use_when_they_are_picked(shipped, own, tmp_path):
    models = ModelInUse(shipped, Analyser(shipped.segmenter, 0.6), Rule(every=3))
    before = [models.pick(frame) for frame in range(4)]
    models.swap(Model(load(tmp_path / own.file), own))
    analyser, record = models.pick(4)
    assert [record for _, record in before] == [shipped.record] * 4
    assert [analyser.check for analyser, _ in before] == [True, False, False, True]
    assert record == own
    assert analyser.segmenter.card.notes["x"] == "y"
    assert analyser.threshold == 0.6


def test_a_new_session_begins_with_the_configured_model(shipped, tmp_path):
    assert resumed(shipped, [], tmp_path, load) is shipped


def test_a_session_goes_on_with_the_model_that_it_had(shipped, own, tmp_path):
    assert resumed(shipped, [shipped.record], tmp_path, load).record == shipped.record
    model = resumed(shipped, [shipped.record, own], tmp_path, load)
    assert model.record == own
    assert model.segmenter.card.notes["x"] == "y"


def test_a_model_that_is_newly_configured_wins(shipped, own, tmp_path):
    earlier = ModelRecord("0" * 64, reason="an older version's")
    model = resumed(shipped, [earlier, own], tmp_path, load)
    assert model.record.digest == shipped.record.digest
    assert "another model" in model.record.reason


def test_a_model_that_is_gone_or_altered_is_named(shipped, own, tmp_path):
    path = tmp_path / own.file
    history = [shipped.record, own]
    shutil.copy(ZOO_MODEL, path)
    with pytest.raises(StoreError, match=r"is not the model .* restore it"):
        resumed(shipped, history, tmp_path, load)
    path.unlink()
    with pytest.raises(StoreError, match=r"cannot be had .* another --model"):
        resumed(shipped, history, tmp_path, load)
