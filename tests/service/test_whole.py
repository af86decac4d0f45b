"""Whole frames that are recorded with the network: by a stroke, and as the work itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.analysis import Analyser
from latticewatch.devices.placement import Placement
from latticewatch.resident import Plans
from latticewatch.resident.recordings import AFTER, LARGEST, parts
from latticewatch.resident.whole import put_in
from latticewatch_kernels.arrays import blank, device
from latticewatch_kernels.conditioning import FrameContentError
from latticewatch_models.beside import Beside, UnrecordableError
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import Microscope
from latticewatch_models.runtime import Segmenter

from .test_placement import assert_same

SEED, SIDE = 5, 128


@dataclass(frozen=True, eq=False)
class Doubled(Beside):
    """A run of the network on the host, which the double records as it does its own work."""

    double: Any = None

    def run(self) -> None:
        seen = self.double._inner(self.frames)
        filled = [self.double._inner(result) for result in self.results.values()]

        def do() -> None:
            for result, made in zip(
                filled, self.session.run(list(self.results), {"frame": seen}), strict=True
            ):
                result[...] = made

        self.double._touch((self.frames,), list(self.results.values()))
        self.double._ask(do)


class Recordable(Segmenter):
    """On the host, and as if its provider could be recorded."""

    recordable = True

    def __init__(self, double: Any) -> None:
        super().__init__(providers="cpu", threads=1)
        self.double, self.made = double, []

    def beside(self, number: int, shape: tuple[int, int]) -> Beside:
        sides = self._sides(shape)
        cells = tuple(side // self.stride for side in sides)
        results = {"heat": blank((number, 1, *cells)), "offset": blank((number, 2, *cells))}
        frames = blank((number, 1, *sides))
        self.made.append(number)
        session = self._session._session._session
        return Doubled(frames, results, self.ran_on, session, None, self.double)


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return [frame.image for frame in Microscope("WS2", (SIDE, SIDE), SEED).frames(AFTER + 4)]


@pytest.fixture
def recorder(device_double) -> Analyser:
    segmenter = Recordable(device_double)
    return Analyser(
        segmenter, crystal=CRYSTALS["WS2"], placement=Placement(0), plans=Plans(), record=True
    )


def together(analyser: Analyser, frames: list[np.ndarray]) -> list:
    with device(0):
        return analyser.together(frames, 0)


def test_frames_are_asked_for_by_a_stroke(device_double, recorder, frames):
    plain = replace(recorder, record=False, placement=Placement(0), plans=Plans())
    expected = [plain(frame) for frame in frames]
    for _ in range(3):  # the first time nothing is recorded
        for found, one in zip(together(recorder, frames), expected, strict=True):
            assert_same(found, one)
            assert found.computed == one.computed
    assert recorder.placement.recordings.trouble == ""
    assert recorder.segmenter.made == [4, 2, 1]
    traffic = device_double.traffic
    traffic.__init__()
    together(recorder, frames[:4])
    assert traffic.operations == 1
    assert (traffic.up, traffic.down) == (4, 1)


def test_a_stack_is_put_in_by_one_copy(recorder, frames, monkeypatch):
    expected, copies = [recorder(frame) for frame in frames], list[tuple]()
    stack, copied = np.stack(frames), np.copyto
    for _ in range(3):
        found = together(recorder, stack)

    def counted(to, *given, **named):
        copies.append(to.shape)
        copied(to, *given, **named)

    monkeypatch.setattr(np, "copyto", counted)
    for found, one in zip(together(recorder, stack), expected, strict=True):
        assert_same(found, one)
    # one to each of the works that so many frames are run by
    assert [shape for shape in copies if shape[-2:] == stack.shape[1:]] == [
        (number, *stack.shape[1:]) for number in parts(len(stack))
    ]


def test_some_frames_of_a_stack_need_another_plan(recorder, frames):
    """The whole is tried first, and then those that are left."""
    other = replace(recorder, record=False, placement=Placement(0), plans=Plans())
    stack = np.stack([*frames[:3], np.full_like(frames[0], 7)])
    stack[1] = stack[1, ::-1]
    for _ in range(3):
        found = together(recorder, stack)
    expected = together(other, list(stack))
    for one, same in zip(found[:3], expected[:3], strict=True):
        assert_same(one, same)
    assert type(found[3]) is type(expected[3]) is FrameContentError


def test_a_frame_that_is_alone(recorder, frames):
    plain = replace(recorder, record=False, placement=Placement(0), plans=Plans())
    for frame in frames:
        assert_same(recorder(frame), plain(frame))
    assert recorder.segmenter.made == [1]


def test_frames_that_are_padded_for_the_network(recorder, frames):
    plain = replace(recorder, record=False, placement=Placement(0), plans=Plans())
    several = [frame[:-1, :-3] for frame in frames]
    for _ in range(2):
        for found, frame in zip(together(recorder, several), several, strict=True):
            assert_same(found, plain(frame))
    assert recorder.placement.recordings.trouble == ""


@pytest.mark.expects_errors
def test_a_network_that_cannot_be_recorded_goes_without(recorder, frames, monkeypatch):
    told: list[Any] = []

    def beside(*_: Any) -> Beside:
        raise UnrecordableError("no session for recorded runs: out of luck")

    monkeypatch.setattr(recorder.segmenter, "beside", beside)
    recorder = replace(recorder, placement=Placement(0, told.append))
    for frame in frames:
        recorder(frame)
    assert "out of luck" in recorder.placement.recordings.trouble
    assert [(fall.before, fall.after) for fall in told] == [("recorded work", "cuda:0")]


@given(number=st.integers(0, 100))
def test_groups_are_powers_of_two(number):
    sizes = parts(number)
    assert sum(sizes) == number
    assert sizes == sorted(sizes, reverse=True)
    assert all(size <= LARGEST and size & (size - 1) == 0 for size in sizes)
    assert len(set(sizes) - {LARGEST}) == len([size for size in sizes if size < LARGEST])


@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2", "f4", "f8"])
@pytest.mark.parametrize("number", [1, 3])
def test_frames_are_put_in_as_they_are(kind, number):
    rng = np.random.default_rng(SEED)
    stack = rng.integers(0, 200, (number, 6, 10)).astype(kind)
    turned = [np.asfortranarray(frame) for frame in stack]
    for frames in (stack, list(stack), turned, stack[:, ::-1], list(stack[:, :, ::-1])):
        given = np.zeros((number, 6, 10), kind)
        put_in(given, frames)
        np.testing.assert_array_equal(given, np.stack(list(frames)))
