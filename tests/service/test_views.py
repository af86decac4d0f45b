"""What people see: the score against truth, the preview and the picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from latticewatch.board import transition_table
from latticewatch.client.messages import DefectTable
from latticewatch.palette import style_of
from latticewatch.picture import save_overlay
from latticewatch.preview import preview
from latticewatch.scorecard import score_by_species
from latticewatch_models.crystal import CRYSTALS
from latticewatch_models.microscope import Microscope, SpecimenConfig


def table_of(points, species, state=None) -> DefectTable:
    n = len(species)
    zero = np.zeros(n)
    columns = dict.fromkeys(DefectTable.empty().columns, zero)
    columns |= {"x_px": points[:, 0], "y_px": points[:, 1], "species": np.array(species, str)}
    columns |= {"state": np.array(state if state is not None else [""] * n, str)}
    return DefectTable.from_dict(columns)


def test_the_table_shows_the_matrix_behind_the_labels_and_whether_it_is_kinetics():
    row = {"probabilities": [[0.25]], "low": [[0.1]], "high": [[0.4]]}
    plain = {**row, "states": ["MoW"], "counts": [[[9]]]}
    memory = {"verdict": "the matrix is not kinetics"}
    told = {**plain, "hidden": {**row, "probabilities": [[0.875]]}, "memory": memory}
    shown = []
    for transitions in (plain, told):
        console = Console(file=io.StringIO(), width=140, force_terminal=False)
        console.print(transition_table({"transitions": transitions}))
        shown.append(console.file.getvalue())
    assert "0.250" in shown[0]
    assert "0.875" in shown[1]
    assert "not kinetics" in shown[1]


def test_a_perfect_report_scores_one_and_a_wrong_name_does_not():
    truth = Microscope("WS2", (256, 256), seed=2).acquire().truth
    perfect = table_of(truth.points, truth.species)
    for score in score_by_species([(truth, perfect)]).values():
        assert (score.precision, score.recall) == (1.0, 1.0)
    swapped = np.where(truth.species == "MoW", "VW", truth.species)
    scores = score_by_species([(truth, table_of(truth.points, swapped))])
    assert scores["MoW"].recall == 0.0
    assert scores["MoW"].precision is None
    assert scores["VW"].recall == 1.0
    assert scores["VW"].precision < 1.0


def test_false_alarms_and_misses_are_counted_once():
    truth = Microscope("WS2", (256, 256), seed=2).acquire().truth
    chosen = truth.species == "MoW"
    points = truth.points[chosen]
    inside = ((points > 20) & (points < 236)).all(axis=1)
    points = points[inside]
    doubled = np.concatenate([points[1:], points[1:] + 0.5, [[128.0, 128.0]]])
    far = np.hypot(*(truth.points - [128.0, 128.0]).T).min() > 6
    assert far, "the made-up defect must not stand on a true one"
    table = table_of(doubled, ["MoW"] * len(doubled))
    score = score_by_species([(truth, table)])["MoW"]
    assert score.right == len(points) - 1
    assert score.reported == len(doubled)


def test_what_stands_in_a_hole_is_not_judged():
    specimen = SpecimenConfig(hole_fraction=0.1)
    truth = Microscope("WS2", (256, 256), seed=3, specimen=specimen).acquire().truth
    assert len(truth.hole_points)
    table = table_of(truth.hole_points, ["VW"] * len(truth.hole_points))
    assert score_by_species([(truth, table)])["VW"].reported == 0


@given(
    rows=st.integers(64, 300), columns=st.integers(64, 300), longest=st.integers(64, 300),
    dtype=st.sampled_from(["uint8", "uint16", "int32", "float32", "float64"]),
)  # fmt: skip
def test_a_preview_fits_and_keeps_order(rows, columns, longest, dtype):
    ramp = np.linspace(0, 200, columns).astype(dtype)
    image = preview(np.broadcast_to(ramp, (rows, columns)), longest)
    assert image.dtype == np.uint8
    assert max(image.shape) <= longest
    assert (np.diff(image.astype(int), axis=1) >= 0).all()
    assert image[0, -1] > 200
    assert image[0, 0] < 60


def test_the_picture_shows_each_species_in_its_colour(tmp_path):
    frame = np.random.default_rng(0).poisson(50, (128, 160)).astype(np.uint16)
    points = np.array([[30.0, 40.0], [80.0, 64.0], [120.0, 100.0]])
    table = table_of(points, ["MoW", "VW", "MoW"], ["MoW", "", "MoW+VS/1"])
    save_overlay(tmp_path / "o.png", frame, table, pixel_size_nm=0.03, lattice_px=10.5)
    pixels = np.asarray(Image.open(tmp_path / "o.png").convert("RGB")).reshape(-1, 3)
    for species, state in (("MoW", ""), ("VW", ""), ("MoW", "MoW+VS/1")):
        colour = [int(style_of(species, state)[0][k : k + 2], 16) for k in (1, 3, 5)]
        assert (np.abs(pixels.astype(int) - colour).max(axis=1) < 12).sum() > 20, species


@pytest.mark.parametrize("crystal", CRYSTALS.values(), ids=lambda crystal: crystal.name)
def test_every_species_of_every_crystal_has_a_style_of_its_own_role(crystal):
    unknown = style_of("unknown")
    for reading in crystal.readings:
        assert style_of(reading.species) != unknown, reading.species
