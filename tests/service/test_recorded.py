"""Work that is recorded gives what the work itself gives, for every frame of its plan."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from latticewatch.analysis import Analyser
from latticewatch.devices.placement import Placement
from latticewatch.resident import Plans, recorded
from latticewatch.resident.recorded import Recorded
from latticewatch.resident.recordings import AFTER, MOST, PATIENCE
from latticewatch_kernels.arrays import device
from latticewatch_kernels.conditioning import FrameContentError
from latticewatch_kernels.lattice import NoLatticeError
from latticewatch_kernels.recording import follow, own_stream, record
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import BatchError, Segmenter

from .test_placement import assert_same, plain

SEED = 5

#: What a device is asked for in a recorded frame.
OPERATIONS = 4


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
    return replace(analyser, record=True, plans=Plans(), placement=Placement(0))


def together(analyser: Analyser, frames: list[np.ndarray]) -> list:
    with device(0):
        return analyser.together(frames, 0)


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
    # both strokes, and two maps put where they are read
    assert traffic.operations == OPERATIONS
    # the network on the host crosses twice up and once down
    assert (traffic.up, traffic.down) == (3, 2)
    for frame, found in zip([*frames, frames[1]], [*told, again], strict=True):
        assert_equal(found, analyser(frame))
    assert recording.placement.recordings.trouble == ""


def test_analysers_that_are_made_for_each_frame_share_recordings(device_double, analyser, frames):
    """As the service makes them, since every tenth frame is checked (`ModelInUse.pick`)."""
    recording = recorder(analyser)
    for frame in frames[: AFTER + 1]:
        replace(recording, check=False)(frame)
    traffic = device_double.traffic
    traffic.__init__()
    found = replace(recording, check=False)(frames[1])
    assert traffic.operations == OPERATIONS
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


def test_frames_that_are_run_together(device_double, analyser, frames):
    """Recorded or not: what the network says of several frames at once is the same to rounding."""
    recording, expected = recorder(analyser), [analyser(frame) for frame in frames]
    for _ in range(2):  # the second time they are recorded
        for found, one in zip(together(recording, frames), expected, strict=True):
            assert_same(found, one)
    traffic = device_double.traffic
    traffic.__init__()
    together(recording, frames)
    # to each frame its own, and to all the stack that the network sees
    assert traffic.operations == OPERATIONS * len(frames) + 1
    # the network on the host is one look; all else was asked for before the first wait
    assert (traffic.up, traffic.down) == (len(frames) + 2, 2)


def test_what_is_wrong_with_a_frame_is_its_own(device_double, analyser, frames):
    recording, shape = recorder(analyser), frames[0].shape
    noise = np.random.default_rng(SEED).poisson(50, shape).astype(np.uint16)
    even = np.full_like(noise, 7)
    for _ in range(2):
        *faults, found = together(recording, [noise, even, frames[0]])
        assert [type(fault) for fault in faults] == [NoLatticeError, FrameContentError]
        assert_same(found, analyser(frames[0]))


def test_frames_of_other_plans_among_them(device_double, analyser, frames):
    """The plan of most does not fit a frame of twice the scale, nor one of many defects."""
    recording, few = recorder(analyser), frames[:3]
    coarse = np.kron(frames[0][:96, :96], np.ones((2, 2), np.uint16))
    for _ in range(3):
        found = together(recording, [*few, coarse, *few])
        for one, frame in zip(found, [*few, coarse, *few], strict=True):
            assert_same(one, analyser(frame))
        assert [one.runs for one in found] == [1, 1, 1, 2, 1, 1, 1]


def test_frames_that_are_brought_to_the_networks_scale(device_double, analyser, frames):
    recording = recorder(analyser)
    fine = np.kron(frames[0][:96, :96], np.ones((2, 2), np.uint16))
    told = [recording(fine) for _ in range(AFTER + 2)]
    (kind,) = recording.placement.recordings._free
    assert kind[0].scaled == (95, 95)  # half, by the series of scales
    assert recording.placement.recordings.trouble == ""
    for found in told:
        assert_equal(found, analyser(fine))


def test_frames_in_hand_at_once_have_recordings_of_their_own(device_double, analyser, frames):
    recording, both = recorder(analyser), threading.Barrier(2)
    together(recording, [frames[0]] * (AFTER + 1))
    recordings, found = recording.placement.recordings, {}
    taken = recordings.take

    def take(*given):
        works = taken(*given)
        both.wait(60.0)  # until the other has its own
        return works

    def run(which: int) -> None:
        found[which] = recording(frames[which])

    recordings.take = take
    threads = [threading.Thread(target=run, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for which in range(2):
        assert_equal(found[which], analyser(frames[which]))
    # the other did not wait for what was being recorded, or was later and has its own
    assert [len(free) for free in recordings._free.values()] in ([1], [2])


def test_nobody_waits_for_what_another_thread_records(device_double, analyser, frames, monkeypatch):
    recording, make, found = recorder(analyser), Recorded.of, []
    for frame in frames[:AFTER]:
        recording(frame)

    def of(*given):
        other = threading.Thread(target=lambda: found.append(recording(frames[1])))
        other.start()
        other.join()
        return make(*given)

    monkeypatch.setattr(Recorded, "of", of)
    assert_equal(recording(frames[0]), analyser(frames[0]))
    assert_equal(*found, analyser(frames[1]))
    assert [len(free) for free in recording.placement.recordings._free.values()] == [1]


def test_plans_that_differ_in_room_share_work(device_double, analyser, frames):
    recording = recorder(analyser)
    together(recording, [frames[0]] * (AFTER + 1))
    recordings, shape = recording.placement.recordings, frames[0].shape
    recording(frames[0])
    own = recording.plans.of(shape)
    (((plan, *given), works),) = recordings._free.items()
    assert (plan, len(works)) == (own, 1)
    less = replace(own, room=replace(own.room, found=own.room.found - 1))
    more = replace(own, room=replace(own.room, found=own.room.found + 1))
    other = replace(less, stride=own.stride + 1)
    assert [recordings.fitting((one, *given)) for one in (own, less, more, other)] == [
        own, own, more, other,
    ]  # fmt: skip
    recording.plans.keep(less)
    assert_equal(recording(frames[1]), analyser(frames[1]))
    assert recording.plans.of(shape) == own


def test_kinds_that_are_asked_for_keep_their_place(device_double, analyser, frames):
    recording = recorder(analyser)
    recordings = recording.placement.recordings

    def kept() -> list[int]:
        return [key[0].shape[0] for key in recordings._free]

    def run(side: int, times: int) -> None:
        together(recording, [frames[0][:side, :160]] * times)

    for side in (96, 112, 128, 128):
        run(side, AFTER)
        run(side, 1)
    assert kept() == [96, 112]
    assert len(kept()) == MOST
    for _ in range(0, PATIENCE, AFTER):
        run(112, AFTER)
    run(128, 1)
    assert kept() == [112, 128]


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
    assert "not permitted" in recording.placement.recordings.trouble
    assert [(fall.before, fall.after) for fall in told] == [("recorded work", "cuda:0")]
    assert placement.gpu == 0


def test_work_that_there_is_no_room_for_is_not_given_up(
    device_double, analyser, frames, monkeypatch
):
    """Fewer frames at a time may have room: the group fails, and each by itself does not."""
    recording, make, made = recorder(analyser), Recorded.of, []

    class OutOfMemoryError(MemoryError):
        """CuPy's bear its name."""

    OutOfMemoryError.__module__ = "cupy.cuda.memory"

    def of(*given):
        made.append(given)
        if len(made) == 2:
            raise OutOfMemoryError("out of memory allocating 1 byte")
        return make(*given)

    monkeypatch.setattr(Recorded, "of", of)
    together(recording, frames[: AFTER + 1])
    with pytest.raises(OutOfMemoryError):
        together(recording, frames)
    assert recording.placement.recordings.trouble == ""
    assert_equal(recording(frames[1]), analyser(frames[1]))
    assert len(made) == 3


@pytest.mark.parametrize("left_out", range(4))
def test_streams_that_do_not_wait_are_told(device_double, analyser, frames, monkeypatch, left_out):
    """Of two frames in hand, none whose network is run before its image is there, or its maps."""
    recording, several, asked = recorder(analyser), frames[:2], []
    for _ in range(3):
        together(recording, several)

    def follow_but_for_one(stream, other):
        asked.append((stream, other))
        if len(asked) != left_out + 1:
            follow(stream, other)

    monkeypatch.setattr(recorded, "follow", follow_but_for_one)
    with pytest.raises((AssertionError, BatchError), match="has not waited for it"):
        together(recording, several)


def test_what_crosses_cannot_be_recorded(device_double):
    array = device_double.cupy.asarray(np.arange(3.0))
    with pytest.raises(RuntimeError, match="a crossing down"):
        record(array.get, own_stream())
