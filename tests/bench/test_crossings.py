"""The bench of crossings adds up, and tells who asked."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import crossings as bench


def test_every_crossing_and_operation_has_its_function():
    counts = bench.count(256, check=False, hole=True)
    lines = counts.table().splitlines()[2:]
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in lines]
    assert [row[0] for row in rows[:1]] == ["`work.begin`"]
    assert all(row[0].startswith("`") for row in rows[:-1]), "something was asked by nobody"
    for column in (1, 2, 3):
        total = int(rows[-1][column].split()[0])
        assert total == sum(int(row[column] or 0) for row in rows[:-1]) > 0


def test_what_counts_as_an_operation():
    double = bench.load_double()
    with double.device() as cupy:
        array = cupy.asarray(np.ones((4, 6), np.float32))
        array.reshape(6, 4).T[1:].view(np.int32)
        array.astype(np.float32, copy=False)
        assert double.traffic.operations == 0
        (array + array).sum(axis=0)
        array[array > 2.0] = 0.0
        cupy.sqrt(array)
        array[cupy.asarray(np.array([1, 2]))]
        assert double.traffic.operations == 6
        assert (double.traffic.up, double.traffic.down) == (2, 0)
