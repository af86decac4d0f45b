"""The double tells of streams that touch one array without waiting for each other."""

from __future__ import annotations

import numpy as np
import pytest

from latticewatch_kernels.arrays import download, mark
from latticewatch_kernels.recording import follow, own_stream, record, shared_stream

RACE = "has not waited for it"


@pytest.fixture
def streams(device_double):
    assert device_double.order  # which CuPy does not have
    return own_stream(), own_stream()


def test_one_stream_is_in_order(device_double, streams):
    with streams[0]:
        array = device_double.cupy.zeros(3)
        array[...] = array + 1.0
        np.testing.assert_array_equal(download([array])[0], np.ones(3))


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("second", ["reads", "fills"])
def test_what_another_fills(device_double, streams, waits, second):
    with streams[0]:
        array = device_double.cupy.zeros(3)
    if waits:
        follow(streams[1], streams[0])

    def touch():
        with streams[1]:
            return array + 1.0 if second == "reads" else array.__setitem__(..., 2.0)

    if waits:
        touch()
        return
    with pytest.raises(AssertionError, match=RACE):
        touch()


def test_what_another_reads_is_not_filled(device_double, streams):
    with streams[0]:
        array = device_double.cupy.zeros(3)
    follow(streams[1], streams[0])
    with streams[1]:
        _ = array + 1.0
    with streams[0], pytest.raises(AssertionError, match=f"fills what stream .* reads, and {RACE}"):
        array[1:] = 0.0


def test_both_may_read(device_double, streams):
    array = device_double.cupy.zeros(3)
    for stream in streams:
        follow(stream, shared_stream())
        with stream:
            _ = array + 1.0


def test_the_host_hands_on_what_it_has_waited_for(device_double, streams):
    with streams[0]:
        array = device_double.cupy.zeros(3)
        done = mark()
    with streams[1]:
        with pytest.raises(AssertionError, match=RACE):
            _ = array + 1.0
        done.synchronize()
        _ = array + 1.0


def test_an_event_tells_of_what_was_asked_before_it(device_double, streams):
    with streams[0]:
        array = device_double.cupy.zeros(3)
    follow(streams[1], streams[0])
    with streams[0]:
        array[...] = 1.0
    with streams[1], pytest.raises(AssertionError, match=RACE):
        _ = array + 1.0


def test_recorded_work_is_looked_at_when_it_is_started(device_double, streams):
    array = device_double.cupy.zeros(3)
    work, made = record(lambda: array * 2.0, streams[0])
    array[...] = 4.0
    with streams[0], pytest.raises(AssertionError, match=RACE):
        work.start()
    follow(streams[0], shared_stream())
    with streams[0]:
        work.start()
        np.testing.assert_array_equal(download([made])[0], np.full(3, 8.0))
