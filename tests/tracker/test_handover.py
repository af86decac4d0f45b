"""One track for a vacancy that stands on both ends of a hop for a frame or two."""

from __future__ import annotations

import numpy as np

from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.tracker.handover import OVERLAP, handed_over
from latticewatch.tracker.tracks import new_tracks
from latticewatch_models.crystal import CRYSTALS

from .synthetic import Specimen, View, detect, info

WS2 = CRYSTALS["WS2"]


def pair(apart=(1, 0), first=(0, 8), seen=(9, 9)):
    """Two vacancies' tracks before frame 10."""
    tracks = new_tracks(np.array([4, 7]))
    tracks["cell"] = [(0, 0), apart]
    tracks["sublattice"], tracks["first_frame"], tracks["last_frame"] = 1, first, seen
    return tracks


def took_over(tracks, partner=(-1, 3), mobile=(True, True)):
    return handed_over(tracks, np.array(partner), 10, np.array(mobile))


def test_the_old_track_goes_on_where_the_young_neighbour_stands():
    partner, absorbed = took_over(pair())
    assert partner.tolist() == [3, -1]
    assert absorbed.tolist() == [False, True]


def test_what_is_no_hop_is_left_alone():
    for tracks in (
        pair(apart=(2, 0)),  # too far
        pair(first=(0, 10 - OVERLAP - 1)),  # there for long
        pair(first=(0, 9), seen=(8, 9)),  # never seen at once
        pair(first=(8, 0)),  # the one that went is the younger
    ):
        partner, absorbed = took_over(tracks)
        assert partner.tolist() == [-1, 3]
        assert not absorbed.any()
    assert not took_over(pair(), partner=(2, 3))[1].any()
    assert not took_over(pair(), mobile=(True, False))[1].any()


def test_a_young_track_is_taken_over_once_by_the_oldest():
    tracks = new_tracks(np.array([1, 2, 3]))
    tracks["cell"] = [(0, 0), (1, 1), (1, 0)]
    tracks["sublattice"], tracks["last_frame"] = 1, 9
    tracks["first_frame"] = [3, 0, 8]
    partner, absorbed = handed_over(tracks, np.array([-1, -1, 5]), 10, np.ones(3, bool))
    assert partner.tolist() == [-1, 5, -1]
    assert absorbed.tolist() == [False, False, True]


def test_a_hop_that_is_seen_at_both_ends_is_one_track_and_one_hop():
    tracker = Tracker(TrackerSettings(), WS2)
    places = [[(0, 0)]] * 6 + [[(0, 0), (1, 0)]] * 2 + [[(1, 0)]] * 6
    numbers, closed, events = [], [], []
    for frame, vacancies in enumerate(places):
        seen = detect(Specimen(WS2, vacancies=vacancies), View(), np.random.default_rng(frame))
        update = tracker.apply(info(frame), seen)
        numbers.append(update.table["track"].tolist())
        closed += update.closed
        events += [event.kind for event in update.events]
    assert numbers[0] == numbers[-1]
    assert len({number for row in numbers for number in row}) == 2
    assert [track.detections for track in closed] == [2]
    assert events.count("hop") == 1
    told = tracker.statistics()
    assert told["diffusion"]["free"]["site_changes"] == 1
    assert told["tracks"] == {"open": 1, "closed": 1}
