"""Work that is recorded gives what the work itself gives, for every frame of its plan."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from latticewatch.analysis import Analyser
from latticewatch.devices.placement import Placement
from latticewatch.resident import Plans
from latticewatch.resident.recorded import AFTER, MOST
from latticewatch_kernels.recording import own_stream, record
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import Segmenter

from .test_placement import plain

SEED = 5


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Frames of one plan, the last with a hole."""
    seen = [frame.image for frame in Microscope("WS2", (192, 192), SEED).frames(AFTER + 3)]
    y, x = np.ogrid[:192, :192]
    hole = (x - 60) ** 2 + (y - 70) ** 2 < 25**2
    return [*seen, np.where(hole, seen[0].min(), seen[0]).astype(seen[0].dtype)]


@pytest.fixture(scope="module")
def analyser() -> Analyser:
    segmenter = Segmenter(providers="cpu", threads=1)
    return Analyser(segmenter, crystal=CRYSTALS["WS2"], placement=Placement(0))


def recorder(analyser: Analyser) -> Analyser:
    return replace(analyser, record=True, plans=Plans())


def assert_equal(found, expected) -> None:
    theirs, both = plain(expected), plain(found)
    assert both.keys() == theirs.keys()
    for name, ours in both.items():
        np.testing.assert_array_equal(ours, theirs[name], name)


def test_every_frame_is_the_same_to_the_last_bit(device_double, analyser, frames):
    recording = recorder(analyser)
    told = [recording(frame) for frame in frames]
    traffic = device_double.traffic
    traffic.__init__()
    again = recording(frames[1])
    # both strokes, the frame and two maps put where they are read, and the network's padding
    assert traffic.operations == 6
    # the network on the host crosses twice up and once down
    assert (traffic.up, traffic.down) == (3, 2)
    for frame, found in zip([*frames, frames[1]], [*told, again], strict=True):
        assert_equal(found, analyser(frame))
    assert recording.plans.recordings.trouble == ""


def test_analysers_that_are_made_for_each_frame_share_recordings(device_double, analyser, frames):
    """As the service makes them, since every tenth frame is checked (`ModelInUse.pick`)."""
    recording = recorder(analyser)
    for frame in frames[: AFTER + 1]:
        replace(recording, check=False)(frame)
    traffic = device_double.traffic
    traffic.__init__()
    found = replace(recording, check=False)(frames[1])
    assert traffic.operations == 6
    assert_equal(found, analyser(frames[1]))


def test_other_frames_and_checked_ones_go_without(device_double, analyser, frames):
    recording = recorder(analyser)
    for frame in frames[: AFTER + 1]:
        recording(frame)
    checked = replace(recording, check=True)(frames[2])
    assert_equal(checked, replace(analyser, check=True)(frames[2]))
    part = frames[0][:128, :160]
    assert_equal(recording(part), analyser(part))
    assert_equal(recording(frames[3]), analyser(frames[3]))


def test_threads_have_recordings_of_their_own(device_double, analyser, frames):
    recording, found = recorder(analyser), {}

    def run(which: int) -> None:
        found[which] = [recording(frames[which]) for _ in range(AFTER + 2)][-1]

    threads = [threading.Thread(target=run, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    for which in range(2):
        assert_equal(found[which], analyser(frames[which]))


def test_a_thread_keeps_few_recordings(device_double, analyser, frames):
    recording = recorder(analyser)
    for side in (96, 112, 128):
        for _ in range(AFTER + 2):
            recording(frames[0][:side, :160])
    assert len(recording.plans.recordings._thread().known) == MOST


@pytest.mark.expects_errors
def test_a_device_that_cannot_record_goes_on_without(device_double, analyser, frames, monkeypatch):
    told = []
    placement = Placement(0, told.append)
    recording = replace(recorder(analyser), placement=placement)

    class CaptureError(RuntimeError):
        """CUDA's bear its name."""

    CaptureError.__module__ = "cupy_backends.cuda.api.runtime"

    def fail(self):
        device_double._work.end()
        raise CaptureError("cudaErrorStreamCaptureUnsupported: not permitted")

    monkeypatch.setattr(device_double.Stream, "end_capture", fail)
    for frame in frames[: AFTER + 3]:
        assert_equal(recording(frame), analyser(frame))
    assert "not permitted" in recording.plans.recordings.trouble
    assert [(fall.before, fall.after) for fall in told] == [("recorded work", "cuda:0")]
    assert placement.gpu == 0


def test_what_crosses_cannot_be_recorded(device_double):
    array = device_double.cupy.asarray(np.arange(3.0))
    with pytest.raises(RuntimeError, match="a crossing down"):
        record(array.get, own_stream())
