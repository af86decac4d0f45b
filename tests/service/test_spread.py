"""Streams on devices: even, steady, and none left behind."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from latticewatch.computed import HOST
from latticewatch.devices.spread import Spread

NAMES = st.sampled_from([f"s{k}" for k in range(8)])
#: What may happen: a stream comes, goes, or a device fails.
STEPS = st.lists(
    st.tuples(st.just("placed"), NAMES)
    | st.tuples(st.just("released"), NAMES)
    | st.tuples(st.just("without"), st.sampled_from(["cuda:0", "cuda:1", "cuda:2"])),
    max_size=30,
)
DEVICES = ("cuda:0", "cuda:1", "cuda:2")


def after(spread: Spread, step: tuple[str, str]) -> Spread:
    verb, name = step
    extra = ("it failed",) if verb == "without" else ()
    return getattr(spread, verb)(name, *extra)


def test_streams_go_where_the_fewest_are_in_the_order_of_the_devices():
    spread = Spread(("cuda:0", "cuda:1"))
    for stream in "abc":
        spread = spread.placed(stream)
    assert spread.places == {"a": "cuda:0", "b": "cuda:1", "c": "cuda:0"}
    spread = spread.released("b").placed("d")
    assert spread.places["d"] == "cuda:1"


def test_a_lost_device_is_told_with_what_moved_where():
    before = Spread(("cuda:0", "cuda:1")).placed("a").placed("b").placed("c")
    spread = before.without("cuda:0", "unknown error")
    assert spread.lost == {"cuda:0": "unknown error"}
    assert spread.moved(before) == {"a": ("cuda:0", "cuda:1"), "c": ("cuda:0", "cuda:1")}
    last = spread.without("cuda:1", "out of memory")
    assert set(last.places.values()) == {HOST}
    assert last.placed("late").places["late"] == HOST


@given(STEPS)
def test_whatever_happens_every_stream_has_a_place_that_works(steps):
    spread, known, lost = Spread(DEVICES), set(), set()
    for verb, name in steps:
        before, spread = spread, after(spread, (verb, name))
        known = known | {name} if verb == "placed" else known - {name}
        lost = lost | {name} if verb == "without" else lost
        assert set(spread.places) == known
        assert set(spread.lost) == lost
        usable = set(DEVICES) - lost or {HOST}
        assert set(spread.places.values()) <= usable
        for stream, place in before.places.items():
            if stream in known and place not in lost:
                assert spread.places[stream] == place, "a stream moved without need"


@given(st.lists(NAMES, unique=True), st.sets(st.sampled_from(DEVICES), max_size=2))
def test_streams_are_even_to_one(streams, lost):
    spread = Spread(DEVICES)
    for device in sorted(lost):
        spread = spread.without(device, "it failed")
    for stream in streams:
        spread = spread.placed(stream)
    counts = Counter({device: 0 for device in DEVICES if device not in lost})
    counts.update(spread.places.values())
    assert max(counts.values()) - min(counts.values()) <= 1
