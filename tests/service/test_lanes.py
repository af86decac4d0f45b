"""Streams on several devices: which are taken, when, and where streams go when one fails."""

from __future__ import annotations

import numpy as np
import pytest
from gpus import Gpus

from latticewatch.analysis import Analyser
from latticewatch.config import ConfigError, load_settings
from latticewatch.devices.lane import Machine, candidates
from latticewatch.devices.lanes import Lanes, Told
from latticewatch.devices.seats import Seat
from latticewatch.segmenters import keep
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.devices import Device, DeviceError, parse_devices
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import ZOO_MODEL, ProviderError


def lanes(gpus: Gpus, device: str = "cuda:0,cuda:1", told=None, **analysis) -> Lanes:
    settings = load_settings(analysis={"device": device, **analysis})
    return Lanes(settings, told, gpus.machine)


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    return next(Microscope("WS2", (128, 128), seed=5).frames(1)).image


def test_devices_are_read_from_one_text():
    assert parse_devices("cuda:1, cuda:0") == (Device("cuda", 1), Device("cuda", 0))
    assert load_settings(analysis={"device": "cuda, cuda:2"}).analysis.device == "cuda:0,cuda:2"
    for text, mend in (("cuda:0,cpu", "give cuda:0,cuda:1"), ("cuda:0,cuda", "name each once")):
        with pytest.raises(DeviceError, match=mend):
            parse_devices(text)
        with pytest.raises(ConfigError, match=r"analysis\.device"):
            load_settings(analysis={"device": text})


def test_auto_may_mean_every_gpu_or_none():
    gpus = Gpus(3).machine.gpus()
    assert candidates("auto", gpus) == tuple(Device("auto", k) for k in range(3))
    assert candidates("auto", Gpus(0).machine.gpus()) == (Device("auto"),)
    assert candidates("cuda:2", gpus) == (Device("cuda", 2),)


def test_a_device_is_taken_into_use_when_its_first_stream_comes():
    gpus = Gpus()
    shared = lanes(gpus)
    assert list(gpus.lanes) == [0]
    assert shared.lane("a") is gpus.lanes[0]
    assert list(gpus.lanes) == [0]
    assert shared.lane("b") is gpus.lanes[1]
    assert [shared.lane(name) for name in "abab"] == [gpus.lanes[k] for k in (0, 1, 0, 1)]
    assert shared.status() == {
        f"cuda:{k}": {
            "providers": ["cuda", "cpu"], "arrays": f"cuda:{k}", "streams": [name], "lost": "",
        }
        for k, name in enumerate("ab")
    }  # fmt: skip


def test_a_device_that_was_named_is_looked_at_before_it_is_needed():
    with pytest.raises(ProviderError, match="there is no cuda:2"):
        lanes(Gpus(2), "cuda:0,cuda:2")
    broken = Machine(Gpus(2).machine.gpus, lambda k: ("CuPy fails", "mend it"), Gpus(2).open)
    with pytest.raises(ProviderError, match="cuda:1 cannot be used: CuPy fails: mend it"):
        Lanes(load_settings(analysis={"device": "cuda:0,cuda:1"}), None, broken)


def test_auto_takes_the_gpus_that_compute_and_the_host_where_none_does():
    assert list(lanes(Gpus(2, blind=(0,)), "auto").status()) == ["cuda:1"]
    assert list(lanes(Gpus(2, blind=(0, 1)), "auto").status()) == ["host"]
    assert list(lanes(Gpus(0, blind=(0,)), "auto").status()) == ["host"]
    assert list(lanes(Gpus(2), "cpu").status()) == ["host"]


@pytest.mark.expects_errors
def test_a_gpu_of_auto_that_computes_nothing_is_left_when_it_is_tried(caplog):
    gpus, moves = Gpus(2, blind=(1,)), []
    shared = lanes(gpus, "auto", Told(move=lambda *move: moves.append(move)))
    assert [shared.lane(name) for name in "ab"] == [gpus.lanes[0]] * 2
    assert moves == [("b", "cuda:1", "cuda:0")]
    assert "cuda:1 cannot be taken into use" in caplog.text
    assert shared.status()["cuda:1"]["lost"].startswith("nothing runs there")


@pytest.mark.expects_errors
@pytest.mark.parametrize("error", [ProviderError("no engine\nmore"), MemoryError()])
def test_a_device_that_cannot_be_taken_into_use_loses_no_stream(error):
    gpus = Gpus(refused={1: error})
    shared = lanes(gpus)
    assert [shared.lane(name) for name in "abc"] == [gpus.lanes[0]] * 3
    assert shared.status()["cuda:1"]["lost"] == (str(error).split("\n")[0] or "MemoryError")


@pytest.mark.expects_errors
def test_every_lane_has_the_model_that_the_service_was_started_with(tmp_path):
    gpus, path = Gpus(), tmp_path / "model.onnx"
    path.write_bytes(ZOO_MODEL.read_bytes())
    shared = lanes(gpus, model=path)
    # a protobuf message that is continued: field 14 (metadata_props) with key "note.x", value "y"
    path.write_bytes(ZOO_MODEL.read_bytes() + b"\x72\x0b\x0a\x06note.x\x12\x01y")
    assert [shared.lane(name) for name in "ab"] == [gpus.lanes[0]] * 2
    assert "is not the model" in shared.status()["cuda:1"]["lost"]


@pytest.mark.expects_errors
def test_streams_leave_a_device_whose_arrays_fail(device_double, frame):
    gpus, falls, moves = Gpus(), [], []
    shared = lanes(gpus, told=Told(falls.append, lambda *move: moves.append(move)))
    seats = {name: Seat(shared, name) for name in "abc"}
    analyser = Analyser(shared.model.segmenter, crystal=CRYSTALS["WS2"])
    for seat in seats.values():
        assert seat.later(analyser)(frame).computed.reason == "the service was started with it"
    waiting = [seats["a"].later(analyser) for _ in range(2)]
    device_double.faults[0] = device_double.DeviceLostError("cudaErrorUnknown")
    # the frame that meets it is analysed on the host, the next on the other device: it waited too
    found = [analyse(frame).computed for analyse in waiting]
    assert [(on.device, on.arrays) for on in found] == [
        ("cuda:0", "host"), ("cuda:1", "cuda:1"),
    ]  # fmt: skip
    assert [on.reason for on in found] == ["cuda:0 failed (cudaErrorUnknown)"] * 2
    assert moves == [("a", "cuda:0", "cuda:1"), ("c", "cuda:0", "cuda:1")]
    assert [(fall.before, fall.after) for fall in falls] == [("cuda:0", "host")]
    assert seats["c"].later(analyser)(frame).computed.device == "cuda:1"
    assert seats["b"].later(analyser)(frame).computed.reason == "the service was started with it"
    device_double.faults[1] = device_double.DeviceLostError("cudaErrorECCUncorrectable")
    for seat in seats.values():
        assert seat.later(analyser)(frame).computed.arrays == "host"
    assert shared.status()["host"]["streams"] == ["a", "b", "c"]
    assert "cuda:1 failed" in shared.why("b")


def test_streams_leave_a_device_whose_network_fails(device_double, frame, caplog):
    gpus = Gpus()
    shared = lanes(gpus)
    seat = Seat(shared, "a")
    analyser = Analyser(seat.model.segmenter, crystal=CRYSTALS["WS2"])
    expected = seat.later(analyser)(frame)
    gpus.lanes[0].segmenter.broken = True
    found = [seat.later(analyser)(frame) for _ in range(2)]
    assert [(one.computed.provider, one.computed.device) for one in found] == [
        ("cpu", "host"), ("cuda", "cuda:1"),
    ]  # fmt: skip
    assert [len(one) for one in found] == [len(expected)] * 2
    assert "stream a goes from cuda:0 to cuda:1 (CUDNN_STATUS_EXECUTION_FAILED)" in caplog.text


@pytest.mark.expects_errors
def test_a_single_device_that_fails_leaves_its_streams_on_the_host(device_double, frame):
    moves = []
    shared = lanes(Gpus(1), "cuda:0", Told(move=lambda *move: moves.append(move)))
    seat = Seat(shared, "a")
    analyser = Analyser(seat.model.segmenter, crystal=CRYSTALS["WS2"])
    seat.later(analyser)(frame)
    device_double.faults[0] = device_double.DeviceLostError("cudaErrorUnknown")
    assert [seat.later(analyser)(frame).computed.arrays for _ in range(2)] == ["host", "host"]
    assert moves == [("a", "cuda:0", "host")]


@pytest.mark.expects_errors
def test_a_streams_own_model_moves_with_it(device_double, frame, tmp_path):
    gpus = Gpus()
    shared = lanes(gpus)
    seat = Seat(shared, "a")
    path, _ = keep(ZOO_MODEL, tmp_path)
    analyser = Analyser(seat.load(path), crystal=CRYSTALS["WS2"])
    assert seat.bound(analyser).segmenter is analyser.segmenter
    device_double.faults[0] = device_double.DeviceLostError("cudaErrorUnknown")
    seat.later(analyser)(frame)
    moved = seat.bound(analyser)
    assert moved.segmenter.device == Device("cuda", 1)
    assert moved.segmenter.card.path == str(path)
    assert seat.bound(analyser).segmenter is moved.segmenter, "it is loaded once"
    assert seat.later(analyser)(frame).computed.device == "cuda:1"


@pytest.mark.expects_errors
def test_a_streams_own_model_that_is_gone_stays_where_it_was(device_double, frame, tmp_path):
    shared = lanes(Gpus())
    seat = Seat(shared, "a")
    path, _ = keep(ZOO_MODEL, tmp_path)
    analyser = Analyser(seat.load(path), crystal=CRYSTALS["WS2"])
    path.unlink()
    device_double.faults[0] = device_double.DeviceLostError("cudaErrorUnknown")
    seat.later(analyser)(frame)
    found = seat.later(analyser)(frame)
    assert (found.computed.device, found.computed.arrays) == ("cuda:0", "host")


def test_a_stream_that_could_not_be_opened_takes_no_place():
    shared = lanes(Gpus())
    assert shared.device_of("a") == "cuda:0"
    shared.release("a")
    assert shared.device_of("b") == "cuda:0"


def test_the_doubles_do_not_share_arrays(device_double):
    with device_double.Device(1):
        above = device_double.cupy.asarray(np.ones(3))
    with pytest.raises(ValueError, match="current device 0"):
        above + np.float32(1)
