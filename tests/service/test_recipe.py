"""What a session records of how it was analysed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from latticewatch import __version__
from latticewatch.cli import main
from latticewatch.config import AnalysisSettings, load_settings
from latticewatch.devices.lanes import Lanes
from latticewatch.devices.placement import Placement
from latticewatch.devices.seats import Seat
from latticewatch.opening import open_stream
from latticewatch.recipe import recipe
from latticewatch.segmenter_options import SegmenterSettings
from latticewatch.segmenters import Model
from latticewatch.storage.session import Session
from latticewatch.tracker import TrackerSettings
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import ZOO_MODEL, Segmenter


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.of(Segmenter(None, "cpu", 1), reason="")


def test_every_setting_of_the_analysis_is_in_it(model):
    chosen = load_settings(
        None,
        analysis={"threshold": 0.4, "crystal": "MoS2", "model": str(ZOO_MODEL)},
        alerts={"rules": [{"when": "hole_fraction > 0.05", "severity": "critical"}]},
    )
    told = recipe(chosen, model)
    assert json.loads(json.dumps(told)) == told
    assert set(told["tracker"]) == {field.name for field in fields(TrackerSettings)}
    # the model by its content, the crystal by itself
    assert set(told["analysis"]) == set(AnalysisSettings.model_fields) - {"model", "crystal"}
    assert told["analysis"]["threshold"] == 0.4
    assert set(told["segmenter"]) == set(SegmenterSettings.model_fields) - {"engines"}
    assert told["crystal"]["name"] == "MoS2"
    assert told["model"]["sha256"] == hashlib.sha256(Path(ZOO_MODEL).read_bytes()).hexdigest()
    assert told["model"]["file"] == "defects.onnx"
    assert told["model"]["weights"] == "float32"
    assert told["software"]["latticewatch"] == __version__
    assert told["software"]["numpy"] == np.__version__
    assert (told["machine"]["providers"], told["machine"]["arrays"]) == (["cpu"], "host")
    assert recipe(chosen, model, Placement(1))["machine"]["arrays"] == "cuda:1"
    assert told["alerts"] == {"hole_fraction > 0.05": "hole_fraction > 0.05 (critical)"}


def test_a_service_records_its_settings_and_the_frame_from_which_others_hold(tmp_path):
    def opened(threshold: float) -> None:
        chosen = load_settings(
            None, store={"data": str(tmp_path)}, analysis={"threshold": threshold}
        )
        seat = Seat(Lanes(chosen), "s")
        writer, _ = open_stream("s", chosen, seat, {})
        writer.close()

    opened(0.4)
    opened(0.5)
    with Session.open_read(tmp_path / "s") as session:
        (only,) = session.settings()
    assert (only["frame"], only["data"]["analysis"]["threshold"]) == (0, 0.5)


def test_analyze_records_its_settings(tmp_path):
    frames = Microscope("WS2", (128, 128), seed=9).frames(2)
    np.save(tmp_path / "m.npy", np.stack([frame.image for frame in frames]))
    given = ["--out", str(tmp_path / "out"), "--threshold", "0.45"]
    assert main(["analyze", str(tmp_path / "m.npy"), *given]) == 0
    with Session.open_read(tmp_path / "out") as session:
        (only,), (computed,) = session.settings(), session.computed()
    assert (computed["frame"], computed["arrays"]) == (0, "host")
    assert computed["reason"] == "the analysis was started with it"
    assert only["frame"] == 0
    assert only["data"]["analysis"]["threshold"] == 0.45
