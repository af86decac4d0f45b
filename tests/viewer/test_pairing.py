from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from published import defects, overlay

from latticewatch.viewer.pairing import MOST_WAITING, Pairing


def run(messages):
    pairing, wholes = Pairing(), []
    for message in messages:
        pairing, whole = pairing.take(message)
        assert len(pairing.waiting) <= MOST_WAITING
        if whole is not None:
            wholes.append(whole)
    return pairing, wholes


def test_both_orders_make_a_frame():
    _, wholes = run([overlay(0), defects(0), defects(1), overlay(1)])
    assert [(o.frame, d.frame) for o, d in wholes] == [(0, 0), (1, 1)]
    assert all((o.kind, d.kind) == ("overlay", "defects") for o, d in wholes)


def test_an_overlay_whose_defects_are_lost_is_never_drawn_with_other_ones():
    pairing, wholes = run([overlay(0), defects(1), overlay(1), defects(0)])
    assert [(o.frame, d.frame) for o, d in wholes] == [(1, 1)]
    assert pairing.unpaired == 2  # the overlay given up, and its defects that came too late


def test_the_wait_is_bounded():
    lone = [overlay(k) for k in range(20)]
    pairing, wholes = run(lone)
    assert wholes == []
    assert pairing.unpaired == 20 - MOST_WAITING


def test_a_restarted_service_counts_anew():
    _, wholes = run([overlay(9), defects(9), overlay(0, run=6), defects(0, run=6)])
    assert [o.frame for o, _ in wholes] == [9, 0]


def test_another_epoch_is_another_frame():
    _, wholes = run([overlay(3), defects(3, epoch=2)])
    assert wholes == []


HALVES = {(kind, k): make(k) for k in range(8) for kind, make in (("o", overlay), ("d", defects))}


@given(st.permutations(sorted(HALVES)), st.sets(st.sampled_from(sorted(HALVES))))
def test_every_half_is_drawn_or_counted_or_waits(order, lost):
    sent = [HALVES[key] for key in order if key not in lost]
    pairing, wholes = run(sent)
    assert 2 * len(wholes) + pairing.unpaired + len(pairing.waiting) == len(sent)
    frames = [o.frame for o, _ in wholes]
    assert frames == sorted(set(frames))
    assert all(o.frame == d.frame for o, d in wholes)
