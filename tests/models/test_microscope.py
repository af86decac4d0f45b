import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from latticewatch_models.crystal import CRYSTALS, crystal_named
from latticewatch_models.imaging import Detector
from latticewatch_models.kinetics import Rates
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig
from latticewatch_models.truth import COLUMNS, Truth
from latticewatch_models.view import drift_matrix

NO_DAMAGE = Rates(
    damage_barn=0.0, metal_damage_barn=0.0, hole_nucleation_barn=0.0, hole_growth_barn=0.0
)
PERFECT = SpecimenConfig(
    dopant_fraction=0.0,
    vacancy_fraction=0.0,
    metal_vacancy_fraction=0.0,
    adatom_per_cell=0.0,
    rates=replace(NO_DAMAGE, adatom_arrival_per_cell_s=0.0),
)
#: As good as no noise: 1e9 electrons a pixel, a float detector without dark level.
CLEAN = ImagingConfig(
    dose_e_per_pixel=1e9,
    jitter_px=0.0,
    drift_nm_per_frame=0.0,
    film=0.0,
    contamination=0.0,
    detector=Detector(gain=1.0, offset=0.0, read_noise=0.0, dtype="float32"),
)


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_every_crystal_runs_at_any_shape(name, dtype):
    imaging = ImagingConfig(detector=Detector(dtype=dtype))
    for frame in Microscope(name, (96, 150), seed=3, imaging=imaging).frames(3):
        assert frame.image.shape == (96, 150)
        assert frame.image.dtype == dtype
        assert frame.seq == frame.truth.frame
        known = {reading.species for reading in crystal_named(name).readings}
        assert set(frame.truth.species.tolist()) <= known


def test_the_same_seed_gives_the_same_movie_bit_for_bit():
    movies = [list(Microscope(shape=(96, 128), seed=5).frames(4)) for _ in range(2)]
    for one, other in zip(*movies, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.truth.to_dict() == other.truth.to_dict()
    different = Microscope(shape=(96, 128), seed=6).acquire()
    assert (different.image != movies[0][0].image).any()


def test_header_states_pixel_time_and_dose():
    header = Microscope(shape=(96, 96)).acquire().header
    # 1,600 electrons on 0.3 x 0.3 square angstroms
    assert header["dose_e_per_A2"] == pytest.approx(1600 / 0.09)
    assert header["pixel_size_nm"] == 0.03
    assert header["frame_time_s"] == 2.25


def test_column_intensities_of_a_clean_frame_go_by_z_to_the_power_1_7():
    imaging = replace(CLEAN, probe_fwhm_nm=0.06, tail_share=0.0, pixel_size_nm=0.012)
    specimen = replace(PERFECT, dopant_fraction=0.1, dopant_shift_pm=0.0)
    frame = Microscope("WS2", (300, 300), 1, specimen, imaging).acquire()
    columns, margin = frame.columns, 8
    inside = ((columns.points > margin) & (columns.points < 299 - margin)).all(axis=1)
    points, weight = columns.points[inside], columns.weight[inside]
    grid = np.indices((300, 300))[::-1]
    sums = []
    for x, y in points:
        window = (grid[0] - x) ** 2 + (grid[1] - y) ** 2 < margin**2
        sums.append(frame.image[window].sum())
    measured = np.array(sums)
    w = measured[np.isclose(weight, 1.0)].mean()
    for atoms, expected in ((42, (42 / 74) ** 1.7), (16, 2 * (16 / 74) ** 1.7)):
        chosen = np.isclose(weight, expected)
        assert chosen.sum() >= 3, atoms
        np.testing.assert_allclose(measured[chosen] / w, expected, rtol=0.02)


@given(angle=st.floats(0, 360), seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_columns_are_where_the_truth_says(angle, seed):
    imaging = replace(CLEAN, rotation_deg=angle, probe_fwhm_nm=0.06, tail_share=0.0)
    imaging = replace(imaging, pixel_size_nm=0.02, stretch=1.05, skew=-0.04)
    frame = Microscope("graphene", (120, 90), seed, PERFECT, imaging).acquire()
    rows, columns = np.indices(frame.image.shape)
    points = frame.columns.points
    middle = points[((points > 8) & (points < [81, 111])).all(axis=1)]
    assert len(middle) > 20
    for x, y in middle:
        # a smooth window of the column's own width: a shift shows as half of itself
        light = frame.image * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.27**2))
        assert (light * columns).sum() / light.sum() == pytest.approx(x, abs=0.02)
        assert (light * rows).sum() / light.sum() == pytest.approx(y, abs=0.02)
    cells, sublattice, distance = frame.truth.lattice.nearest_site(points)
    assert distance.max() < 1e-6
    assert (sublattice == frame.columns.sublattice).all()
    assert len(np.unique(np.c_[cells, sublattice], axis=0)) == len(points)


def test_lattice_of_the_truth_has_constant_rotation_and_conventions():
    frame = Microscope(imaging=replace(CLEAN, rotation_deg=100.0), specimen=PERFECT).acquire()
    lattice = frame.truth.lattice
    assert lattice.constant == pytest.approx(0.3153 / 0.03)
    # a turn by 120 degrees maps the crystal onto itself
    assert lattice.rotation == pytest.approx(-20.0)
    centre = np.array([127.5, 127.5])
    metal = frame.columns.points[frame.columns.sublattice == 0]
    nearest = metal[np.hypot(*(metal - centre).T).argmin()]
    np.testing.assert_allclose(nearest, lattice.origin)


def test_noise_of_a_flat_region_is_that_of_the_electrons_counted():
    frames = list(
        Microscope(
            shape=(64, 64),
            specimen=PERFECT,
            imaging=replace(CLEAN, dose_e_per_pixel=1600.0),
        ).frames(300)
    )
    stack = np.stack([frame.image for frame in frames])
    # nothing moves: each pixel is a Poisson variable, its variance over the frames its mean
    ratio = stack.var(axis=0).mean() / stack.mean()
    assert ratio == pytest.approx(1.0, abs=0.02)
    # a W column: 1,600 x 2 % plus what its neighbours' tails add
    assert 32 < stack.mean(axis=0).max() < 42


def test_drift_moves_the_lattice_and_shears_a_frame_as_the_scan_runs():
    imaging = replace(CLEAN, drift_nm_per_frame=0.3, drift_wander=0.0, dose_e_per_pixel=1e4)
    frames = list(Microscope(shape=(200, 160), seed=8, specimen=PERFECT, imaging=imaging).frames(4))
    origins = np.array([frame.truth.lattice.origin for frame in frames])
    steps = np.diff(origins, axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape), atol=1e-9)
    assert np.hypot(*steps[0]) == pytest.approx(10.0, rel=0.06)
    # over a whole frame's height the specimen moves by one frame's drift
    straight = Microscope(
        shape=(200, 160), seed=8, specimen=PERFECT, imaging=replace(imaging, drift_nm_per_frame=0)
    ).acquire()
    still, moving = straight.truth.lattice.matrix, frames[0].truth.lattice.matrix
    bend = moving @ np.linalg.inv(still)
    drift = np.linalg.inv(bend) @ steps[0]
    np.testing.assert_allclose(bend[:, 0], [1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(200 * (bend[0, 1] / bend[1, 1]), drift[0], rtol=1e-9)
    np.testing.assert_allclose(200 * (1 - 1 / bend[1, 1]), drift[1], rtol=1e-9)


def test_a_defect_keeps_its_number_and_site_while_the_specimen_drifts():
    still = Rates(**dict.fromkeys(Rates.__dataclass_fields__, 0.0))
    specimen = SpecimenConfig(rates=still)
    microscope = Microscope(
        seed=2, specimen=specimen, imaging=ImagingConfig(drift_nm_per_frame=0.2)
    )
    sites: dict[int, tuple[int, ...]] = {}
    for frame in microscope.frames(10):
        truth = frame.truth
        rows = zip(truth.ident, truth.cell_i, truth.cell_j, truth.sublattice, strict=True)
        for ident, *site in rows:
            assert sites.setdefault(int(ident), tuple(site)) == tuple(site)
        cells = np.stack([truth.cell_i, truth.cell_j], -1)
        place = truth.lattice.site_positions(cells, truth.sublattice)
        # at most the dopants' own shift of 10 pm
        assert np.hypot(*(place - truth.points).T).max() < 0.34
        assert not truth.transitions
        assert not truth.hops


def test_transitions_and_hops_are_the_differences_between_frames():
    specimen = SpecimenConfig(rates=replace(NO_DAMAGE, hop_per_s=0.05, rotate_per_s=0.1))
    frames = list(Microscope(seed=4, specimen=specimen).frames(12))
    told, seen = 0, 0
    for before, after in itertools.pairwise(frames):
        old = dict(zip(before.truth.ident, before.truth.state, strict=True))
        new = dict(zip(after.truth.ident, after.truth.state, strict=True))
        changed = {i: (old[i], new[i]) for i in old.keys() & new.keys() if old[i] != new[i]}
        listed = {t.ident: (t.before, t.after) for t in after.truth.transitions}
        assert changed.items() <= listed.items()
        assert all(t.frame == after.seq for t in after.truth.transitions)
        told, seen = told + len(listed), seen + len(changed)
        where = {t.ident: t for t in after.truth.hops}
        for row in np.flatnonzero(after.truth.species == "VS"):
            match = np.flatnonzero(before.truth.ident == after.truth.ident[row])
            if len(match):
                hop = where.get(int(after.truth.ident[row]))
                moved = after.truth.cell_i[row] - before.truth.cell_i[match[0]]
                assert (hop.di if hop else 0) == moved
    assert seen > 10
    assert told >= seen


def test_a_bound_vacancy_is_told_by_its_dopant_alone():
    microscope = Microscope(seed=1)
    frame = microscope.acquire()
    truth, kinetics = frame.truth, microscope.kinetics
    held = np.char.find(truth.state, "+") >= 0
    assert held.sum() >= 3
    bound = {int(kinetics.ident[site]) for site in kinetics.bound.sites}
    assert not bound & set(truth.ident.tolist())
    # the column that the state points to is the dim one
    for row in np.flatnonzero(held):
        k = int(truth.state[row][-1])
        step = [(1 / 3, 2 / 3), (-2 / 3, -1 / 3), (1 / 3, -1 / 3)][k]
        target = truth.lattice.to_pixels(np.array([truth.cell_i[row], truth.cell_j[row]]) + step)
        gap = np.hypot(*(frame.columns.points - target).T)
        if gap.min() < 1e-6:
            assert frame.columns.weight[gap.argmin()] == pytest.approx((16 / 74) ** 1.7)


def test_dopants_stand_off_toward_their_vacancy():
    specimen = SpecimenConfig(dopant_shift_pm=30.0, bound_share=1.0, dopant_fraction=0.1)
    truth = Microscope(seed=1, specimen=specimen, imaging=CLEAN).acquire().truth
    rows = np.flatnonzero(np.char.endswith(truth.state, "/0"))
    cells = np.stack([truth.cell_i[rows], truth.cell_j[rows]], -1)
    shift = truth.points[rows] - truth.lattice.to_pixels(cells)
    towards = truth.lattice.matrix @ [1 / 3, 2 / 3]
    expected = towards / np.hypot(*towards) * 1.0  # 30 pm at 30 pm a pixel
    np.testing.assert_allclose(shift, np.broadcast_to(expected, shift.shape), atol=1e-9)


def test_holes_are_dark_and_their_area_is_told():
    specimen = replace(PERFECT, hole_fraction=0.15, hole_radius_cells=5.0, edge_disorder_pm=0.0)
    imaging = replace(CLEAN, dose_e_per_pixel=1e5, tail_share=0.0)
    frame = Microscope(seed=11, specimen=specimen, imaging=imaging).acquire()
    truth, mask = frame.truth, frame.truth.hole_mask()
    assert truth.fractions.sum() == pytest.approx(1.0)
    assert mask.mean() == pytest.approx(truth.fractions[2], rel=0.1)
    assert mask.mean() > 0.02
    assert frame.image[mask].mean() < 0.15 * frame.image[~mask].mean()
    gaps = ndimage.binary_fill_holes(mask) & ~mask
    assert gaps.sum() < 0.002 * mask.sum()
    assert truth.in_hole(truth.hole_points).all()
    assert not truth.in_hole(frame.columns.points).any()
    assert frame.truth.hole_mask(5.0).sum() > mask.sum()


def test_contamination_is_bright_smooth_and_moves_with_the_specimen():
    dirty = replace(CLEAN, contamination=0.5, amorphous=0.0, drift_nm_per_frame=0.3)
    dirty = replace(dirty, drift_wander=0.0)
    clean = replace(dirty, contamination=0.0)
    first, later = (
        [
            frame.image.astype(float)
            for frame in Microscope(seed=3, specimen=PERFECT, imaging=imaging).frames(3)
        ]
        for imaging in (dirty, clean)
    )
    patches = [(a - b) / 2e7 for a, b in zip(first, later, strict=True)]
    assert patches[0].min() > -0.01
    assert 0.1 < patches[0].max() < 3.0
    assert np.abs(np.diff(patches[0], axis=1)).max() < 0.05
    # two frames on, the pattern has moved by 20 px: it agrees better moved than where it was
    origins = [
        frame.truth.lattice.origin
        for frame in Microscope(seed=3, specimen=PERFECT, imaging=clean).frames(3)
    ]
    dx, dy = np.rint(np.subtract(origins[2], origins[0])).astype(int)
    moved = np.roll(patches[0], (dy, dx), axis=(0, 1))[40:-40, 40:-40]
    after = patches[2][40:-40, 40:-40]
    assert np.abs(moved - after).mean() < 0.2 * np.abs(patches[0][40:-40, 40:-40] - after).mean()


def test_a_film_adds_its_share_of_a_w_column_everywhere():
    imaging = replace(CLEAN, dose_e_per_pixel=1e6, film=0.25)
    bare, coated = (
        Microscope("graphene", (64, 64), 1, PERFECT, replace(imaging, film=film)).acquire().image
        for film in (0.0, 0.25)
    )
    assert (coated - bare).mean() == pytest.approx(0.25 * 0.02 * 1e6, rel=0.01)


def test_truth_survives_a_json_line():
    specimen = SpecimenConfig(hole_fraction=0.1)
    *_, frame = Microscope(shape=(128, 96), seed=7, specimen=specimen).frames(5)
    back = Truth.from_dict(json.loads(json.dumps(frame.truth.to_dict())))
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(back, name), getattr(frame.truth, name))
        assert getattr(back, name).dtype == getattr(frame.truth, name).dtype
    assert back.lattice == frame.truth.lattice
    assert back.transitions == frame.truth.transitions
    assert back.hops == frame.truth.hops
    np.testing.assert_array_equal(back.hole_mask(), frame.truth.hole_mask())
    assert back.to_dict() == frame.truth.to_dict()


def test_an_empty_truth_survives_too():
    truth = Microscope(shape=(64, 64), specimen=PERFECT).acquire().truth
    assert len(truth) == 0
    assert Truth.from_dict(json.loads(json.dumps(truth.to_dict()))).to_dict() == truth.to_dict()


def test_drift_as_fast_as_the_scan_is_refused():
    with pytest.raises(ValueError, match="set it lower"):
        drift_matrix(np.array([0.0, 40.0]), 64)


def test_the_demo_shows_what_it_should():
    frames = list(Microscope(seed=0).frames(60))
    counts = [
        {name: int(np.sum(f.truth.species == name)) for name in ("MoW", "VW", "VS")} for f in frames
    ]
    assert 12 <= np.mean([c["MoW"] for c in counts]) <= 28
    assert 2 <= np.mean([c["VW"] for c in counts]) <= 9
    assert np.mean([c["VS"] for c in counts]) >= 3
    assert sum(len(f.truth.transitions) for f in frames) >= 40
    assert frames[-1].truth.fractions[2] < 0.05


def test_disordered_patches_scatter_their_columns_and_are_told():
    specimen = replace(PERFECT, disordered_fraction=0.2, disorder_radius_cells=5.0)
    imaging = replace(CLEAN, dose_e_per_pixel=1e5)
    whole = Microscope(seed=4, specimen=PERFECT, imaging=imaging).acquire()
    frame = Microscope(seed=4, specimen=specimen, imaging=imaging).acquire()
    ideal = whole.columns.points
    gaps = np.hypot(*(frame.columns.points[:, None] - ideal[None]).transpose(2, 0, 1)).min(axis=1)
    share = float(np.mean(gaps > 1e-6))
    assert 0.05 < share < 0.4
    assert frame.truth.fractions[1] == pytest.approx(share, abs=0.02)
    assert frame.truth.fractions[2] == 0.0
    # 150 pm an axis are 5 px, but the nearest site is never more than half a bond away
    scattered = gaps[gaps > 1e-6]
    assert scattered.mean() > 1.5


def test_a_specimen_without_disorder_is_the_one_it_was():
    one, other = (
        Microscope(seed=9, specimen=SpecimenConfig(disorder_pm=pm)).acquire().image
        for pm in (100.0, 300.0)
    )
    np.testing.assert_array_equal(one, other)
