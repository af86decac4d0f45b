"""Frames that a placement hands on together: who is run with whom, and what becomes of failures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from types import SimpleNamespace

import pytest

from latticewatch.devices.placement import Placement
from latticewatch.together import Together
from latticewatch_kernels.lattice import FrameFaultError, NoLatticeError

from .test_placement import DeviceLostError, OutOfMemoryError

WAIT_S = 60.0


class Rig:
    """A placement in groups of three; `trouble` hears of the frames of each run, and may raise."""

    def __init__(self, gpu: int | None = 0, most: int = 3) -> None:
        self.told, self.runs, self.below, self.trouble = [], [], [], lambda frames: None
        self.placement = Placement(gpu, self.told.append, most, WAIT_S)

    def above(self, frames, gpu):
        assert gpu == 0
        self.runs.append(len(frames))
        self.trouble(frames)
        faults = {"noise": NoLatticeError("no lattice", "look for one")}
        return [faults.get(frame, f"{frame} above") for frame in frames]

    def on_host(self, frame):
        self.below.append(frame)
        return f"{frame} below"

    def run(self, *frames, kind="any"):
        with ThreadPoolExecutor(len(frames)) as pool:
            given = self.above, self.on_host, kind
            return [pool.submit(self.placement.run, frame, *given) for frame in frames]


@pytest.fixture(autouse=True)
def patient(device_double, monkeypatch):
    """Nobody gives up waiting for others; and CuPy's pool, for those who are short of memory."""
    monkeypatch.setattr(Together, "_pause", lambda _, first: wait([first], WAIT_S))
    pool = SimpleNamespace(free_all_blocks=lambda: None)
    device_double.cupy.get_default_memory_pool = lambda: pool


def results(futures):
    return [future.exception() or future.result() for future in futures]


def test_frames_of_a_kind_are_handed_on_together():
    rig = Rig()
    assert results(rig.run("a", "b", "c")) == ["a above", "b above", "c above"]
    assert results(rig.run("d", kind=None)) == ["d above"]
    assert rig.runs == [3, 1]


def test_what_is_wrong_with_a_frame_is_raised_where_it_came_from():
    rig = Rig()
    good, bad, also_good = results(rig.run("a", "noise", "b"))
    assert (good, also_good) == ("a above", "b above")
    assert isinstance(bad, FrameFaultError)
    assert rig.runs == [3]


@pytest.mark.parametrize(("gpu", "most"), [(None, 3), (0, 1)], ids=["host", "groups of one"])
def test_where_nothing_is_gained_nobody_waits(gpu, most):
    rig = Rig(gpu, most)
    assert len(results(rig.run("a", "b"))) == 2
    assert (len(rig.runs), len(rig.below)) == ((0, 2) if gpu is None else (2, 0))


@pytest.mark.expects_errors
def test_a_device_that_is_lost_is_told_once_and_loses_no_frame():
    rig = Rig()

    def trouble(frames):
        raise DeviceLostError("cudaErrorUnknown: unknown error")

    rig.trouble = trouble
    assert results(rig.run("a", "b", "c")) == ["a below", "b below", "c below"]
    assert rig.runs == [3, 1]
    assert [(fall.before, fall.after) for fall in rig.told] == [("cuda:0", "host")]
    assert results(rig.run("d")) == ["d below"]


@pytest.mark.expects_errors
def test_groups_that_memory_is_too_short_for_go_on_one_by_one(caplog):
    rig = Rig()

    def trouble(frames):
        if len(frames) > 1:
            raise OutOfMemoryError("out of memory allocating 1 byte")

    rig.trouble = trouble
    for _ in range(2):
        assert results(rig.run("a", "b", "c")) == ["a above", "b above", "c above"]
    assert rig.runs == [3, 1, 1, 1, 1, 1, 1]
    assert [(fall.before, fall.after) for fall in rig.told] == [("batches of 3", "single frames")]
    assert rig.placement.gpu == 0
    assert "lower segmenter.max_batch" in caplog.text
