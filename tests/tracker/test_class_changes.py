"""Classes that merge and split: when it is told, and what becomes of all that was counted."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import Specimen, View, detect, info, make_specimen

from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch.tracker.class_changes import chosen_counts, merge_counts
from latticewatch.tracker.classes import Classifier
from latticewatch.tracker.column_evidence import less_tails
from latticewatch.tracker.members import Members
from latticewatch.tracker.mixture import learn, merged
from latticewatch.tracker.series import Series
from latticewatch.tracker.transitions import TransitionCounts

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from estimating.class_changes import SHARES, changes, follow, session


def unchanging(frames, seed, defects):
    """Events and the share of descriptors in their own class over frames without a change."""
    told, right = changes(frames, seed, defects, "", 0)
    assert told == [], f"seed {seed}"
    assert right > 0.995, f"seed {seed}"


def test_no_class_changes_its_number_over_fifteen_hundred_frames():
    unchanging(1500, 0, 20)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_no_class_changes_its_number_over_a_hundred_thousand_frames():
    unchanging(100_000, 5, 20)


@pytest.mark.parametrize(("change", "pair"), [("merge", (1, 2)), ("split", (0, 4))])
def test_a_true_change_is_told_once_and_by_the_right_numbers(change, pair):
    run = list(follow(session(700, 3, 60, change, 200), TrackerSettings()))
    told = [(n, v.first, v.second) for n, (_, _, _, v) in enumerate(run) if v is not None]
    room = TrackerSettings().room
    assert len(told) == 1
    assert told[0][1:] == pair
    assert 200 < told[0][0] < 650
    roster = run[-1][0].roster
    if change == "merge":
        assert roster.numbers.tolist() == [0, 1, 3]
        assert roster.into[2] == 1
    else:
        assert roster.numbers.tolist() == [0, 1, 2, 3, 4]
        assert roster.since[4] == told[0][0]
        assert (roster.since >= 0).sum() == len(SHARES) + 1 <= room


def labelled(seed, steps=300, classes=5):
    rng = np.random.default_rng(seed)
    before, after, lag = rng.integers(0, classes, steps), rng.integers(0, classes, steps), None
    lag = rng.integers(1, 4, steps)
    return before, after, lag


@given(st.integers(0, 1000), st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=30, deadline=None)
def test_merged_counts_are_those_of_relabelled_steps(seed, kept, gone):
    before, after, lag = labelled(seed)
    blank = TransitionCounts.empty(5, 3)
    counts = blank.add(before, after, lag).add_dwells(before, lag)
    if kept == gone:
        return
    merged = merge_counts(counts, kept, gone)
    before, after = (np.where(x == gone, kept, x) for x in (before, after))
    direct = blank.add(before, after, lag).add_dwells(before, lag)
    for name in ("counts", "dwells", "dwell_frames"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(direct, name))
    assert merged.counts.sum() == counts.counts.sum()
    rest = np.delete(np.arange(5), gone)
    assert chosen_counts(merged, rest).counts.sum() == counts.counts.sum()


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_members_of_merged_classes_are_those_of_one_class_all_along(seed):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(4.0, (40, 3)) + rng.poisson(3.0, (40, 1))
    members, oracle = Members.empty(3), Series.empty(1)
    for row in counts:
        members, oracle = members.add(row), oracle.add(row[:1] + row[2:])
    told, expected = members.merged(0, 2).summary(0, 0.95), oracle.summary(0, 0.95)
    assert told == {k: pytest.approx(v) for k, v in expected.items()}
    alone = Series.empty(1)
    for row in counts:
        alone = alone.add(row[1:2])
    assert members.summary(1, 0.95) == {
        k: pytest.approx(v) for k, v in alone.summary(0, 0.95).items()
    }


def test_members_of_a_class_that_split_off_count_from_then():
    members = Members.empty(2)
    for x in ([4, 0], [4, 0]):
        members = members.add(np.array(x))
    members = members.started(1)
    assert members.summary(1, 0.95)["mean"] is None
    for x in ([3, 2], [1, 4]):
        members = members.add(np.array(x))
    assert members.summary(1, 0.95)["mean"] == 3.0
    assert members.summary(0, 0.95)["mean"] == 3.0


def test_a_frame_teaches_with_the_class_probabilities_that_it_was_told_with(monkeypatch):
    record, learnt = [], Classifier.learnt

    def learning(self, sample, look, *rest):
        after = learnt(self, sample, look, *rest)
        if look is not None:
            record.append((self.mixture, look.probability[self.roster.numbers], after.mixture))
        return after

    monkeypatch.setattr(Classifier, "learnt", learning)
    options = TrackerSettings(classes=4, warm_up=100, batch=70)
    specimen, rng = make_specimen(4, counts=(26, 4, 10, 4)), np.random.default_rng(3)
    tracker = Tracker(options, specimen.crystal)
    for frame in range(14):
        tracker.apply(info(frame), detect(specimen, View(noise=0.02), rng))
    gathered, steps = [], 0
    for before, r, after in record:
        gathered.append(r)
        if after is before:
            continue
        told = np.concatenate(gathered, axis=1)
        passed, gathered, steps = told.shape[1] / 70, [], steps + 1
        kept = (1 - (before.steps + 2) ** -0.7) * (1 - (before.steps + 3) ** -0.7) ** (passed - 1)
        assert 1 < passed <= 2
        expected = kept * before.sums[:, 0] + (1 - kept) * told.mean(axis=1)
        np.testing.assert_allclose(after.sums[:, 0], expected, rtol=1e-9)
        assert after.steps == pytest.approx(before.steps + passed)
    assert steps == len(record) // 2 >= 4  # two frames of 44 defects make one step


def test_what_is_pending_is_learnt_before_classes_change():
    options = TrackerSettings()
    run = [state for state, *_ in follow(session(60, 1, 30), options)]
    classifier = next(state for state in run if 0 < state.pending.n < options.batch)
    floor = classifier.floor
    changed = classifier.with_classes(lambda m: merged(m, 0, 2, floor), options)
    assert changed.pending.n == 0
    assert changed.pending.sums.shape == changed.mixture.sums.shape == (3, 66)
    first = learn(classifier.mixture, classifier.pending, 100, options.step_exponent, floor)
    for name in ("sums", "means", "covariances"):
        expected = getattr(merged(first, 0, 2, floor), name)
        np.testing.assert_array_equal(getattr(changed.mixture, name), expected)


class Changing(Specimen):
    """Some of the dopants come to shine differently."""

    gone = 0.0
    target = 0.65

    def intensity(self, cell, site):
        value = super().intensity(cell, site)
        chosen = site == 0 and self.metal.get(cell) == "MoW" and (cell[0] + cell[1]) % 2 == 0
        return value + (self.target - value) * self.gone * chosen


def run_split(frames=150, begin=50, restore_every=0):
    plain = make_specimen(4, counts=(26, 4, 10, 4))
    specimen = Changing(plain.crystal, plain.metal, plain.vacancies, plain.adatoms)
    options = TrackerSettings(classes=4)
    tracker, rng, updates = Tracker(options, specimen.crystal), np.random.default_rng(2), []
    for frame in range(frames):
        specimen.gone = min(max((frame - begin) / 10, 0.0), 1.0)
        updates.append(tracker.apply(info(frame), detect(specimen, View(noise=0.02), rng)))
        if restore_every and frame % restore_every == 0:
            tracker = Tracker.restore(tracker.save(), options, specimen.crystal)
    return tracker, updates


def test_a_split_goes_through_the_whole_tracker_and_a_restart_does_not_change_it():
    tracker, updates = run_split()
    events = [e for u in updates for e in u.events if e.kind in ("merge", "split")]
    assert [e.kind for e in events] == ["split"]
    event = events[0]
    old = int(event.before)
    assert event.after == f"{old},4"
    assert event.track == -1
    for update in updates[: event.frame + 1]:
        assert not (update.table["class_id"] == 4).any()
    told = tracker.statistics()
    assert [c["class_id"] for c in told["classes"]] == [0, 1, 2, 3, 4]
    assert told["classes"][4]["since_frame"] == event.frame
    assert told["class_choice"]["numbers_left"] == TrackerSettings().room - 5
    assert told["class_transitions"]["states"] == ["0", "1", "2", "3", "4"]
    # The two parts do not exchange members: the split itself is no step.
    counts = np.array(told["class_transitions"]["counts"][0])
    assert counts[old, 4] + counts[4, old] <= 0.01 * counts[4, 4]
    table = updates[-1].table
    held = {old: set(), 4: set()}
    for i, j, number in zip(table["site_i"], table["site_j"], table["class_id"], strict=True):
        if int(number) in held:
            held[int(number)].add((i + j) % 2 == 0)
    # Each number stands for one of the two kinds, and is read by what it holds now.
    assert sorted(map(list, held.values())) == [[False], [True]]
    for number, changed in held.items():
        told_intensity = told["classes"][number]["intensity"]
        measured = 0.65 if True in changed else 0.382
        assert told_intensity == pytest.approx(float(less_tails(measured, 1.0)), abs=0.02)
        assert told["classes"][number]["species"] == ("unknown" if True in changed else "MoW")
    assert tracker.save() == run_split(restore_every=7)[0].save()


def test_a_merge_goes_through_the_whole_tracker():
    tracker, _ = run_split(frames=60, begin=1000)
    memory = tracker._memory
    before = memory.kinetics.classes.counts
    watch = memory.classifier.watch
    room = TrackerSettings().room
    pair = np.zeros((room, room), np.int64)
    pair[0, 2] = pair[2, 0] = 3
    # As if classes 0 and 2 had been apart, and then alike in all that came since.
    joint = watch.joint.copy()
    mass = np.maximum(watch.mass, 500.0)
    joint[0, 2] = joint[2, 0] = mass[0] * mass[2] / (mass[0] + mass[2])
    memory.classifier = replace(
        memory.classifier,
        watch=replace(watch, seen=5000, apart=pair, together=pair, joint=joint, mass=mass),
    )
    rng, specimen = np.random.default_rng(5), make_specimen(4, counts=(26, 4, 10, 4))
    update = tracker.apply(info(60), detect(specimen, View(), rng))
    event = next(e for e in update.events if e.kind == "merge")
    assert (event.before, event.after) == ("0,2", "0")
    after = memory.kinetics.classes.counts
    assert after[:, 2].sum() == after[:, :, 2].sum() == 0
    assert after[0, 0, 0] >= before[0][np.ix_([0, 2], [0, 2])].sum()
    assert not (memory.tracks["class_id"] == 2).any()
    later = tracker.apply(info(61), detect(specimen, View(), rng))
    assert not (later.table["class_id"] == 2).any()
    told = tracker.statistics()
    assert [c["class_id"] for c in told["classes"]] == [0, 1, 3]
    assert told["class_choice"]["merged"] == {"2": 0}
    assert memory.classifier.roster.next_number() == 4  # number 2 is never given out again
