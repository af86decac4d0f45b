"""What the tracker knows after N frames is what plain batch code makes of the record of N frames.

The record holds, of every frame, the defects that were linked and their tracks' numbers; nothing of
the tracker's sums is used here.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from latticewatch.tracker import Tracker, TrackerSettings, tracker
from latticewatch.tracker.classes import Classifier
from latticewatch.tracker.column_evidence import TURN_OF_MEMBERS, TURNS, dark_levels, less_tails
from latticewatch.tracker.looks import LEAST_NOISE, ODDITY
from latticewatch.tracker.species import species_names
from latticewatch_models.crystal import crystal_named

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from simulated_detections import Scene, simulate  # noqa: E402

SETTINGS = TrackerSettings()
CRYSTAL = crystal_named("WS2")
NAMES = species_names(CRYSTAL)
GAP = SETTINGS.max_gap_frames
FRAMES = 200
#: Numbers of frames after which the numbers are held against each other.
CHECKS = (2, 40, 120, FRAMES)
SEED = 7
CONSTANT_NM = CRYSTAL.lattice_constant_nm


class Record:
    """All frames so far, as lists."""

    def __init__(self):
        self.frames = []  # info, detections, seen, track
        self.closed = []
        self.taught = []  # sample and class probabilities
        self.waiting = []  # samples from before the classes were known


def steps():
    """Frames of a specimen whose fractions wander, one hole edge, some missing, some left out."""
    rng = np.random.default_rng(SEED)
    disordered = 0.05
    for shot in islice(simulate(Scene(defects=50, missed=0.08, false=0.04), SEED), FRAMES):
        disordered = float(np.clip(disordered + 0.01 * rng.standard_normal(), 0.01, 0.2))
        hole = 0.1 * rng.random()
        found = replace(
            shot.detections,
            fractions=np.array([1 - disordered - hole, disordered, hole]),
            noise=shot.detections.noise * rng.uniform(0.9, 1.1),
            in_hole=rng.random(len(shot.detections)) < 0.02,
        )
        kind = rng.random()
        if kind > 0.03:
            yield shot.info, found
        elif kind > 0.015:
            yield shot.info, None


@pytest.fixture(scope="module")
def run():
    """The record and the statistics at each of `CHECKS`, and states of a run that was cut often."""
    record, told = Record(), {}
    follow, learnt = tracker.follow, Classifier.learnt

    def following(memory, info, seen, *rest):
        track, *others = follow(memory, info, seen, *rest)
        record.frames.append([info, None, seen, track])
        return track, *others

    def learning(self, sample, look, *rest):
        after = learnt(self, sample, look, *rest)
        if look is not None:
            record.taught.append((sample, look.probability.T))
        else:
            record.waiting.append(sample)
            if after.mixture is not None:
                record.taught += [(s, after.look(s).probability.T) for s in record.waiting]
        return after

    whole = Tracker(SETTINGS, CRYSTAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracker, "follow", following)
        patch.setattr(Classifier, "learnt", learning)
        count = 0
        for count, (info, found) in enumerate(steps(), 1):  # noqa: B007
            record.closed += whole.apply(info, found).closed
            if found is not None:
                record.frames[-1][1] = found
            if len(record.frames) in CHECKS:
                told[len(record.frames)] = whole.statistics()
        told[len(record.frames)] = whole.statistics()
    return record, told, whole, count


def checked(run):
    """The record cut at each check, and what the tracker told there."""
    record, told, *_ = run
    for n, statistics in told.items():
        yield record.frames[:n], statistics


def tracks_of(frames):
    """Observations of every track in order: frame's index, row's index."""
    history = defaultdict(list)
    for k, (_, _, _, track) in enumerate(frames):
        for row, number in enumerate(track.tolist()):
            history[number].append((k, row))
    return history


def series(values, told, highest=np.inf):
    """Hold a series against its summary: mean, and the interval of an AR(1) process."""
    x = np.asarray(values, float)
    n, mean = len(x), x.mean()
    assert told["now"] == pytest.approx(x[-1], rel=1e-9)
    assert told["mean"] == pytest.approx(mean, rel=1e-9)
    spread = x.var()
    r = np.clip(((x[1:] * x[:-1]).mean() - mean**2) / spread, 0, 0.98) if spread > 1e-12 else 0.0
    half = np.sqrt(spread / (n - 1) * (1 + r) / (1 - r)) * norm.ppf(0.975)
    assert told["low"] == pytest.approx(max(mean - half, 0.0), rel=1e-6, abs=1e-7)
    assert told["high"] == pytest.approx(min(mean + half, highest), rel=1e-6, abs=1e-7)


def test_the_run_holds_what_is_to_be_tested(run):
    record, told, _, count = run
    assert set(told) >= set(CHECKS[:-1])
    end = told[max(told)]
    assert end["frames"] == len(record.frames) < count <= FRAMES
    assert end["missing"] >= 2
    assert end["diffusion"]["free"]["pairs"] > 200
    assert sum(d["completed"] for d in end["transitions"]["dwell"]) > 20
    assert np.array(end["transitions"]["counts"])[1:].sum() > 20


def test_populations_states_fractions_density_and_lattice(run):
    for frames, told in checked(run):
        rows = [seen.species[seen.row] for _, _, seen, _ in frames]
        for code, name in enumerate(NAMES):
            series([(r == code).sum() for r in rows], told["populations"][name])
        for code, name in enumerate(CRYSTAL.states):
            series([(seen.state == code).sum() for _, _, seen, _ in frames], told["states"][name])
        for k, name in enumerate(("crystalline", "disordered", "hole")):
            series([found.fractions[k] for _, found, *_ in frames], told["fractions"][name], 1.0)
        area = [
            np.prod(info.shape) * info.pixel_size_nm**2 * (1 - found.fractions[2])
            for info, found, *_ in frames
        ]
        density = [len(r) / a for r, a in zip(rows, area, strict=True)]
        series(density, told["defect_density_nm2"])
        series([found.lattice.constant for _, found, *_ in frames], told["lattice"]["constant_px"])
        series([found.noise.mean() for _, found, *_ in frames], told["lattice"]["column_noise"])


def labelled(frames, label):
    """Every track's known labels: frame's number and label."""
    for history in tracks_of(frames).values():
        known = [(frames[k][0].frame, int(label(frames[k][2])[row])) for k, row in history]
        yield [(frame, value) for frame, value in known if value >= 0]


def counted(frames, label, size):
    counts = np.zeros((GAP + 1, size, size), int)
    for known in labelled(frames, label):
        for (before, a), (after, b) in pairwise(known):
            if after - before <= GAP + 1:
                counts[after - before - 1, a, b] += 1
    return counts


def test_transitions_by_lag(run):
    for frames, told in checked(run):
        states = counted(frames, lambda seen: seen.state, len(CRYSTAL.states))
        np.testing.assert_array_equal(told["transitions"]["counts"], states)
        classes = np.array(told["class_transitions"]["counts"])
        mine = counted(frames, lambda seen: seen.class_id, classes.shape[1])
        np.testing.assert_array_equal(classes, mine)


def test_dwells(run):
    for frames, told in checked(run):
        stays, lasted = Counter(), Counter()
        for known in labelled(frames, lambda seen: seen.state):
            start = None  # of a stay whose beginning was seen
            for (before, a), (after, b) in pairwise(known):
                if after - before > 1:
                    start = None
                elif a != b:
                    if start is not None:
                        stays[a] += 1
                        lasted[a] += after - start
                    start = after
        for code, dwell in enumerate(told["transitions"]["dwell"]):
            assert dwell["completed"] == stays[code]
            if stays[code]:
                mean = lasted[code] / stays[code]
                assert dwell["completed_mean_frames"] == pytest.approx(mean)


def vacancy_steps(frames, *, free):
    """Displacements (i, j) of vacancies and the frames they took: runs of successive ones."""
    code = NAMES.index(CRYSTAL.vacancy)
    for history in tracks_of(frames).values():
        run = []
        for (k, row), (m, other) in pairwise(history):
            (info, _, seen, _), (then, _, now, _) = frames[k], frames[m]
            usable = seen.species[row] == now.species[other] == code
            if free:
                usable &= not (seen.bound[row] or now.bound[other])
            if usable:
                run.append([*(now.cells[other] - seen.cells[row]), then.frame - info.frame])
            else:
                yield run
                run = []
        yield run


@pytest.mark.parametrize("pool", ["all", "free"])
def test_diffusion(run, pool):
    for frames, told in checked(run):
        ours = told["diffusion"][pool]
        runs = list(vacancy_steps(frames, free=pool == "free"))
        basis = CONSTANT_NM * np.array([[1, -0.5], [0, np.sqrt(3) / 2]])
        rows = [np.array(r, float).reshape(-1, 3) for r in runs]
        walks = [r[:, :2] @ basis.T for r in rows]
        steps = sum(len(w) for w in walks)
        pairs = sum(max(len(w) - 1, 0) for w in walks)
        elapsed = sum(r[:, 2].sum() for r in rows) * frames[0][0].frame_time_s
        assert (ours["steps"], ours["pairs"]) == (steps, pairs)
        assert ours["time_at_risk_s"] == pytest.approx(elapsed)
        if pairs < ours["least_pairs"]:
            assert ours["D_nm2_s"] is None
            continue
        squares = sum((w**2).sum() for w in walks) / steps
        products = sum((w[1:] * w[:-1]).sum() for w in walks) / pairs
        time = elapsed / steps
        value = (squares / 2) / (2 * time) + (products / 2) / time
        assert ours["D_nm2_s"]["value"] == pytest.approx(value, rel=1e-9)


def commoner(intensity, weight):
    """Intensity of what most columns of sublattice 0 are, of all looks at once; LEAST_NOISE."""
    levels = np.array([*dark_levels(CRYSTAL).values()])
    each = norm.pdf(intensity[:, None], levels, LEAST_NOISE) / len(levels)
    rest = ODDITY + each.sum(axis=1)
    most = int((weight @ (each / rest[:, None])).argmax())

    def less(value):
        free = norm.pdf(intensity, value, LEAST_NOISE) / len(levels)
        return -weight @ np.log(rest - each[:, most] + free)

    bounds = levels[most] + np.array([-0.15, 0.15])
    return minimize_scalar(less, bounds=bounds, method="bounded").x


def test_class_sums(run):
    record, told, *_ = run
    classes = told[max(told)]["classes"]
    r = np.concatenate([probability for _, probability in record.taught])
    centre = np.concatenate([s.centre for s, _ in record.taught]).astype(float)
    site = np.concatenate([s.sublattice for s, _ in record.taught])
    patches = np.concatenate([s.patches for s, _ in record.taught]).astype(float)
    later = np.arange(len(r)) >= sum(map(len, record.waiting))
    assert len(classes) > 2
    assert any(entry["held"] for entry in classes)
    for entry in classes:
        weight = r[:, entry["class_id"]]
        here = weight * (site == entry["sublattice"])
        assert entry["members"] == pytest.approx(weight.sum(), rel=1e-9)
        assert entry["measured_by"] == "members"
        if entry["held"] is None:
            told_mean = less_tails(here @ centre / here.sum(), entry["host"])
            assert entry["intensity"] == pytest.approx(float(told_mean), rel=1e-9)
        else:  # to what an interpolation is good for; the warm-up is not looked at one by one
            pick = later & (site == 0)
            batch = commoner(less_tails(centre[pick], 1.0), weight[pick])
            assert entry["intensity"] == pytest.approx(batch, abs=2e-3)
        image = np.tensordot(weight, patches, 1) / weight.sum()
        np.testing.assert_allclose(entry["mean_image"], image, atol=0.6e-4)  # told to 4 places


def test_columns_of_members_are_those_of_every_second_frame(run):
    record, _, whole, _ = run
    start, columns = len(record.waiting), whole._memory.columns
    turns = [k for k in range(start, len(record.taught)) if k % TURNS == TURN_OF_MEMBERS]
    assert len(turns) == pytest.approx((len(record.taught) - start) / 2, abs=1)
    weight, centre = np.zeros((2, *columns.weight.shape[1:]))
    for sample, probability in (record.taught[k] for k in turns):
        on = np.eye(3)[sample.sublattice]
        weight += probability.T @ on
        centre += probability.T @ (on * sample.centre[:, None])
    np.testing.assert_allclose(columns.weight.sum(axis=0), weight, rtol=1e-9)
    np.testing.assert_allclose(columns.centre.sum(axis=0), centre, rtol=1e-9)


def test_tracks(run):
    record, told, *_ = run
    history, end = tracks_of(record.frames), told[max(told)]
    last = record.frames[-1][0].frame
    numbers = {
        number: [record.frames[k][0].frame for k, _ in seen] for number, seen in history.items()
    }
    # of two tracks that stood on both ends of a hop, the younger ends at once (`handover`)
    absorbed = {c.track for c in record.closed if last - c.last_frame <= GAP}
    open_now = {number for number, seen in numbers.items() if last - seen[-1] <= GAP} - absorbed
    assert len(absorbed) < 5
    assert end["tracks"] == {"open": len(open_now), "closed": len(numbers) - len(open_now)}
    assert {c.track for c in record.closed} == set(numbers) - open_now
    assert len(record.closed) == end["tracks"]["closed"] > 50
    for closed in record.closed:
        seen = history[closed.track]
        species = Counter(int(record.frames[k][2].species[row]) for k, row in seen)
        assert species[NAMES.index(closed.species)] == max(species.values())
        assert (closed.first_frame, closed.last_frame) == (
            numbers[closed.track][0],
            numbers[closed.track][-1],
        )
        assert closed.detections == len(seen)
        assert closed.rows == sum(bool(record.frames[k][2].row[row]) for k, row in seen)
        assert max(np.diff(numbers[closed.track]), default=1) <= GAP + 1


@pytest.mark.parametrize("every", [1, 7])
def test_saving_and_restoring_along_the_way_changes_no_byte(run, every):
    *_, whole, _ = run
    parted = Tracker(SETTINGS, CRYSTAL)
    for k, (info, found) in enumerate(steps()):
        parted.apply(info, found)
        if k % every == every - 1:
            parted = Tracker.restore(parted.save(), SETTINGS, CRYSTAL)
    assert parted.save() == whole.save(), f"seed {SEED}"
    assert parted.statistics() == whole.statistics()
