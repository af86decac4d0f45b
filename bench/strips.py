"""How much of a frame its strips tell: ``python bench/strips.py``.

Strips of simulated frames, at drawn places and of several heights, are analysed by themselves and
held against the analysis of the whole frame: which of its defects they find and name alike, by the
distance from the strip's upper or lower border in lattice constants, and what they report beside.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from latticewatch.benchmark import simulated_frames
from latticewatch.client.frames import FrameHeader
from latticewatch.config import load_settings
from latticewatch.opening import analyser_for, strip_reader
from latticewatch.receiving.deliveries import Part
from latticewatch.strip_reader import Reader
from latticewatch.strips import Progress, Strip
from latticewatch_models.runtime import Segmenter

HEIGHTS = (4, 6, 8, 12, 16, 24)

#: Bounds of the distances from the border that are told apart, lattice constants.
EDGES = (0.0, 0.5, 1.0, 2.0, 3.0, np.inf)

PIXEL_NM = 0.03


@dataclass
class Tally:
    """Of all strips of one height; the counts by distance from the border."""

    strips: int = 0
    lattices: int = 0
    off: int = 0
    spent_ms: list[float] = field(default_factory=list)
    true: np.ndarray = field(default_factory=lambda: np.zeros(len(EDGES) - 1))
    found: np.ndarray = field(default_factory=lambda: np.zeros(len(EDGES) - 1))
    named: np.ndarray = field(default_factory=lambda: np.zeros(len(EDGES) - 1))
    extra: np.ndarray = field(default_factory=lambda: np.zeros(len(EDGES) - 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--strips", type=int, default=6, help="of each frame and height")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    settings, rng = load_settings(), np.random.default_rng(options.seed)
    reader = strip_reader(analyser_for(Segmenter(), settings.analysis), settings)
    tallies = {height: Tally() for height in HEIGHTS}
    for image in simulated_frames(options.size, options.frames)[0]:
        whole = read(reader, image, Strip(0, options.size, 0))[0]
        for height, tally in tallies.items():
            rows = round(height * whole.constant)
            for top in rng.integers(0, options.size - rows + 1, options.strips):
                hold(tally, whole, *read(reader, image, Strip(int(top), int(top) + rows, int(top))),
                     int(top), int(top) + rows)  # fmt: skip
    print(f"{options.frames} frames of {options.size} x {options.size}, seed {options.seed}")
    bands = [f"{low:g}-{high:g}" for low, high in pairwise(EDGES)]
    print("found / named alike / beside, %, by distance from the border in lattice constants")
    print(
        f"{'height':>7} {'no lattice':>10} {'off':>4} {'ms':>5} "
        + "".join(f"{b:>18}" for b in bands)
    )
    for height, tally in tallies.items():
        print(row(height, tally))


def read(reader: Reader, image: np.ndarray, strip: Strip) -> tuple[Progress, float]:
    """Analyse rows of a frame by themselves."""
    header = FrameHeader("a", 1, 0, image.shape, image.dtype.name, 0.0, pixel_size_nm=PIXEL_NM)
    told = reader(Part("a", 0, 1, 0, header, image, strip.bottom), strip, Progress())
    return told.progress, told.overlay.analysis_ms


def hold(
    tally: Tally, whole: Progress, strip: Progress, spent_ms: float, top: int, bottom: int
) -> None:
    """Hold a strip against the whole frame."""
    tally.strips += 1
    if strip.constant is None:
        return
    tally.lattices += 1
    tally.spent_ms.append(spent_ms)
    tally.off += abs(strip.constant / whole.constant - 1) > 0.03
    inside = (whole.points[:, 1] >= top) & (whole.points[:, 1] < bottom)
    points, names = whole.points[inside], np.array(whole.labels)[inside]
    near = 0.5 * whole.constant
    distance, nearest = cKDTree(strip.points).query(points)
    found = distance < near
    named = found.copy()
    named[found] = np.array(strip.labels)[nearest[found]] == names[found]
    beside = cKDTree(whole.points).query(strip.points)[0] > near

    def by_band(places: np.ndarray) -> np.ndarray:
        border = np.minimum(places[:, 1] - top, bottom - 1 - places[:, 1]) / whole.constant
        return np.histogram(np.maximum(border, 0), (*EDGES[:-1], 1e9))[0]

    tally.true += by_band(points)
    tally.found += by_band(points[found])
    tally.named += by_band(points[named])
    tally.extra += by_band(strip.points[beside])


def row(height: int, tally: Tally) -> str:
    spent = np.median(tally.spent_ms)
    head = f"{height:>7} {tally.strips - tally.lattices:>10} {tally.off:>4} {spent:>5.0f} "
    cells = []
    for k, true in enumerate(tally.true):
        shares = (100 * counts[k] / true for counts in (tally.found, tally.named, tally.extra))
        cells.append(" / ".join(f"{s:.0f}" for s in shares) if true else "-")
    return head + "".join(f"{cell:>18}" for cell in cells)


if __name__ == "__main__":
    main()
