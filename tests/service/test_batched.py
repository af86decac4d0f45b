"""Frames run together: who waits for whom, that results stay each frame's own, and what fails."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from two_streams import ANY, WAIT_S, assert_same_defects, serve

from latticewatch.batched import BatchedSegmenter, load_segmenter
from latticewatch.config import ConfigError, load_settings
from latticewatch.gathering import Gathering
from latticewatch.service import Service
from latticewatch.together import Together
from latticewatch_models.runtime import Segmenter

SEED, SIDE, FRAMES = 3, 160, 3


@given(st.integers(2, 5), st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=40))
def test_every_member_is_run_once_with_its_kind_in_order(most, arrivals):
    """Those that open a group take it when another of any kind has come, or at the end."""
    gathering, run, waiting = Gathering(most), [], []
    for number, (kind, over) in enumerate(arrivals):
        member = (kind, number)
        added = gathering.add(kind, member)
        assert not (added.group and added.first)
        if added.group:
            assert (len(added.group), added.group[-1]) == (most, member)
            run.append(added.group)
        if added.first:
            waiting.append(member)
        if over and waiting:
            first = waiting.pop(0)
            run.append(gathering.take(first[0], first))
    run += [gathering.take(first[0], first) for first in waiting]
    assert sorted(m for group in run for m in group) == sorted(
        (kind, number) for number, (kind, _) in enumerate(arrivals)
    )
    for group in run:
        assert len(group) <= most
        assert len({kind for kind, _ in group}) <= 1
        assert list(group) == sorted(group)


def test_a_group_that_was_run_is_not_taken_again():
    gathering = Gathering(2)
    assert gathering.add("a", "first").first
    assert gathering.add("a", "second").group == ("first", "second")
    assert gathering.add("a", "third").first
    assert gathering.take("a", "first") == ()
    assert gathering.take("a", "third") == ("third",)
    assert gathering.take("a", "third") == ()


class Watched(BatchedSegmenter):
    """Tells the size of every run; the first of a batch waits until `enough` frames are there.

    `trouble` is called with the frames of a run before it, and may raise.
    """

    def __init__(self, most, enough=None):
        self.told, self.runs, self.trouble = [], [], lambda frames: None
        super().__init__(None, most=most, wait_s=WAIT_S, told=self.told.append,
                         providers="cpu", threads=1)  # fmt: skip
        gathering = self._together._gathering
        here, add, run = threading.Semaphore(0), gathering.add, self._session.run

        def added(kind, member):
            here.release()
            return add(kind, member)

        def pause(first):
            if enough is None:
                wait([first], WAIT_S)
            for _ in range(enough or 0):
                assert here.acquire(timeout=WAIT_S)

        def ran(frames, outputs):
            self.runs.append(len(frames))
            self.trouble(frames)
            return run(frames, outputs)

        gathering.add, self._together._pause, self._session.run = added, pause, ran


def frames(number, shape=(48, 64)):
    return list(np.random.default_rng(SEED).normal(size=(number, *shape)).astype(np.float32))


def at_once(segmenter, images):
    with ThreadPoolExecutor(len(images)) as pool:
        return [pool.submit(segmenter.segment, image) for image in images]


@pytest.fixture(scope="module")
def alone():
    return Segmenter(providers="cpu", threads=1)


def assert_same(futures, images, alone):
    for future, image in zip(futures, images, strict=True):
        seen, expected = future.result(), alone.segment(image)
        # a few units in the last place: see Segmenter.segment_all
        np.testing.assert_allclose(seen.heat, expected.heat, 0, 1e-6)
        np.testing.assert_allclose(seen.offset, expected.offset, 0, 1e-5)


def test_frames_that_come_together_run_together(alone):
    segmenter, images = Watched(most=3), frames(6)
    assert_same(at_once(segmenter, images), images, alone)
    assert segmenter.runs == [3, 3]


def test_what_has_come_in_time_runs(alone):
    segmenter, images = Watched(most=4, enough=2), frames(2)
    assert_same(at_once(segmenter, images), images, alone)
    assert segmenter.runs == [2]


def test_frames_of_another_shape_do_not_wait_for_each_other(alone):
    segmenter = Watched(most=2)
    images = [*frames(2), *frames(2, (50, 40))]
    assert_same(at_once(segmenter, images), images, alone)
    assert segmenter.runs == [2, 2]


def test_a_bad_frame_spoils_no_other(alone):
    segmenter, images = Watched(most=3), frames(3)

    def trouble(batch):
        if (batch == images[1].max()).any():
            raise RuntimeError("a frame that nobody can run")

    segmenter.trouble = trouble
    good, bad, also_good = at_once(segmenter, images)
    assert_same([good, also_good], [images[0], images[2]], alone)
    with pytest.raises(RuntimeError, match="nobody can run"):
        bad.result()
    assert segmenter.told == []
    segmenter.trouble = lambda batch: None
    assert_same(at_once(segmenter, images), images, alone)
    assert segmenter.runs == [3, 1, 1, 1, 3]


@pytest.mark.expects_errors
def test_frames_that_fail_for_their_number_go_on_alone(alone):
    segmenter, images = Watched(most=2), frames(2)

    def trouble(batch):
        if len(batch) > 1:
            raise RuntimeError("out of memory\nstack")

    segmenter.trouble = trouble
    assert_same(at_once(segmenter, images), images, alone)
    assert [(f.before, f.after, f.reason) for f in segmenter.told] == [
        ("batches of 2", "single frames", "out of memory")
    ]
    assert_same(at_once(segmenter, images), images, alone)
    assert segmenter.runs == [2, 1, 1, 1, 1]
    assert len(segmenter.told) == 1


def test_more_than_the_workers_is_an_error():
    with pytest.raises(ConfigError, match=r"set analysis\.workers"):
        load_settings(segmenter={"max_batch": 3}, analysis={"workers": 2})
    settings = load_settings(segmenter={"max_batch": 2})
    assert isinstance(load_segmenter(settings, None), BatchedSegmenter)
    assert type(load_segmenter(load_settings(), None)) is Segmenter


def service(folder: Path, most: int) -> Service:
    settings = load_settings(
        endpoints={"frames": ANY, "results": ANY, "queries": ANY, "metrics": ""},
        store={"data": folder, "fsync": "never"},
        analysis={"device": "cpu"},
        segmenter={"max_batch": most},
    )
    return Service(settings)


def test_two_streams_share_batches_and_keep_their_results(tmp_path, monkeypatch):
    sizes, several = [], Segmenter.segment_all

    def counted(self, images, **named):
        sizes.append(len(images))
        return several(self, images, **named)

    serve(service(tmp_path / "alone", 1), SIDE, FRAMES, SEED)
    monkeypatch.setattr(Segmenter, "segment_all", counted)
    # six frames and two workers: the first of a pair need not give up waiting for the other
    monkeypatch.setattr(Together, "_pause", lambda _, first: wait([first], WAIT_S))
    serve(service(tmp_path / "together", 2), SIDE, FRAMES, SEED)
    assert sizes == [2, 2, 2]
    assert_same_defects(tmp_path / "alone", tmp_path / "together")
