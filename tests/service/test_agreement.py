"""Segmenter against labels of one frame: what counts, what does not, and on real analysis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.agreement import DOUBTFUL_MARK, SURE_MARK, Counts, compare, seen_sublattices
from latticewatch.analysis import Analyser
from latticewatch_kernels.conditioning import condition
from latticewatch_kernels.labelling import label
from latticewatch_kernels.lattice import Lattice
from latticewatch_kernels.point_labels import PointLabels
from latticewatch_kernels.registration import register
from latticewatch_models.microscope import ImagingConfig, Microscope, SpecimenConfig
from latticewatch_models.runtime import Segmenter
from latticewatch_models.segmentation import Segmentation

SIDE = 128
LATTICE = Lattice((10.0, 0.0), (-5.0, 8.66), (64.0, 64.0), np.array([1.0, 0.6, 0.0]), 50.0)
ALL = np.ones(3, bool)
CELLS = np.array([[0, 0], [2, 1], [-2, 2], [3, -2], [-3, -1]], np.int32)
SITES = LATTICE.site_positions(CELLS, np.zeros(5, np.int8))
BORDER = np.array([[4.0, 64.0]])


def labelled(points, doubtful=(), **areas) -> PointLabels:
    blank = {name: np.zeros((SIDE, SIDE), bool) for name in ("hole", "contamination", "disorder")}
    cells, sublattice, _ = LATTICE.nearest_site(points)
    doubtful = np.array(doubtful, float).reshape(-1, 2)
    significance = np.full(len(points), 6.0)
    masks = {**blank, "untold": np.zeros((SIDE, SIDE), bool), **areas}
    return PointLabels(points, significance, cells, sublattice, doubtful, **masks)


def counts(found, points, probability=1.0, seen=ALL, threshold=0.5) -> Counts:
    points = np.asarray(points, float).reshape(-1, 2)
    probability = np.broadcast_to(probability, len(points))
    return compare(found, LATTICE, seen, points, probability, threshold, np.zeros_like(points))


def area(rows, columns):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[rows, columns] = True
    return mask


def test_each_label_and_each_mark_counts_once():
    found = labelled(SITES[:4])
    assert counts(found, SITES[1:]) == Counts(agreed=3, missed=1, unlabelled=1)
    assert counts(found, np.empty((0, 2))) == Counts(missed=4)
    assert counts(labelled(SITES[:0]), SITES) == Counts(unlabelled=5)


def test_what_the_segmenter_doubts_counts_neither_way():
    found = labelled(SITES[:1])
    below, between = 0.5 * (DOUBTFUL_MARK + 0.5), 0.5 * (0.5 + SURE_MARK)
    assert counts(found, SITES[:1], below) == Counts()
    assert counts(found, SITES[:1], between) == Counts(agreed=1)
    assert counts(labelled(SITES[:0]), SITES[:1], between) == Counts()
    assert counts(labelled(SITES[:0]), SITES[:1], 0.85, threshold=0.9) == Counts()


def test_what_the_labels_doubt_counts_neither_way():
    assert counts(labelled(SITES[:0], SITES[:2]), SITES) == Counts(unlabelled=3)


def test_marks_where_labels_cannot_see_are_not_held_against_the_segmenter():
    chalcogen = LATTICE.site_positions(CELLS, np.ones(5, np.int8))
    blind = np.array([True, False, True])
    assert counts(labelled(SITES[:0]), chalcogen, seen=blind) == Counts()
    assert counts(labelled(SITES[:0]), chalcogen) == Counts(unlabelled=5)


@pytest.mark.parametrize("name", ["hole", "contamination", "untold"])
def test_areas_without_a_say_are_left_out(name):
    x, y = SITES[0].astype(int)
    areas = {name: area(slice(y - 3, y + 4), slice(x - 3, x + 4))}
    assert counts(labelled(SITES[:0], **areas), SITES[:1]) == Counts()
    # a label may stand under an even film; it counts there as little
    if name == "contamination":
        assert counts(labelled(SITES[:1], **areas), np.empty((0, 2))) == Counts()


def test_the_border_is_left_out():
    assert counts(labelled(BORDER), np.empty((0, 2))) == Counts()
    assert counts(labelled(SITES[:0]), BORDER) == Counts()


points = st.lists(st.tuples(st.floats(0, SIDE - 1), st.floats(0, SIDE - 1)), max_size=12)


@given(points, points, st.randoms(use_true_random=False))
def test_the_order_of_marks_and_labels_does_not_matter(labels, marks, random):
    labels = np.array(labels, float).reshape(-1, 2)
    marks = np.array(marks, float).reshape(-1, 2)
    first = counts(labelled(labels), marks)
    shuffled = marks[random.sample(range(len(marks)), len(marks))]
    turned = labels[random.sample(range(len(labels)), len(labels))]
    assert counts(labelled(turned), shuffled) == first
    assert first.agreed + first.missed <= len(labels)
    assert first.agreed + first.unlabelled <= len(marks)


@given(points)
def test_a_segmenter_that_repeats_the_labels_agrees(labels):
    labels = np.array(labels, float).reshape(-1, 2)
    told = counts(labelled(labels), labels)
    assert (told.missed, told.unlabelled) == (0, 0)


class Blind(Segmenter):
    """The shipped model, which sees nothing."""

    def segment(self, image: np.ndarray) -> Segmentation:
        return replace(super().segment(image), heat=np.zeros_like(super().segment(image).heat))


class Confused(Segmenter):
    """The shipped model, whose marks are turned about the middle of the frame."""

    def segment(self, image: np.ndarray) -> Segmentation:
        seen = super().segment(image)
        return replace(seen, heat=np.rot90(seen.heat, 2))


def frame(dose: float = 1600.0, seed: int = 7) -> np.ndarray:
    specimen = SpecimenConfig(metal_vacancy_fraction=0.02)
    imaging = ImagingConfig(dose_e_per_pixel=dose, rotation_deg=17.0)
    return Microscope("WS2", (256, 256), seed, specimen, imaging).acquire().image


def agreed(segmenter: Segmenter, image: np.ndarray) -> Counts:
    told = Analyser(segmenter, check=True)(image).agreement
    assert told is not None
    return told


@pytest.mark.parametrize("dose", [800.0, 3200.0])
def test_the_shipped_model_agrees_and_broken_ones_do_not(dose):
    image = frame(dose)
    good = agreed(Segmenter(threads=1), image)
    assert good.agreed >= 20
    assert good.agreed >= 0.95 * good.total
    blind = agreed(Blind(threads=1), image)
    assert (blind.agreed, blind.unlabelled) == (0, 0)
    assert blind.missed >= good.agreed
    confused = agreed(Confused(threads=1), image)
    assert confused.agreed < 0.2 * confused.total
    assert confused.unlabelled > good.unlabelled


def test_a_check_changes_nothing_else():
    image = frame()
    segmenter = Segmenter(threads=1)
    plain, checked = Analyser(segmenter)(image), Analyser(segmenter, check=True)(image)
    assert plain.agreement is None
    assert set(checked.timings_ms) - set(plain.timings_ms) == {"check"}
    for name in ("x_px", "y_px", "probability", "cells", "centre", "neighbours", "patches"):
        np.testing.assert_array_equal(getattr(checked, name), getattr(plain, name))


def test_what_labels_can_see_follows_the_dose():
    def seen(dose):
        image = condition(frame(dose))
        return seen_sublattices(label(image, register(image))).tolist()

    assert seen(200.0)[:2] == [False, False]
    assert seen(1600.0)[:2] == [True, False]  # d' of a single vacancy is 2.6 there
    assert seen(20_000.0)[:2] == [True, True]
