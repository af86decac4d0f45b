"""Label the defects of a movie by Fourier filtering: no model, no human.

For example::

  latticewatch label movie.tif --out labels
  latticewatch label frame.npy --out labels --threshold 5
  latticewatch label movie.h5 --out labels --frames 0:10

Writes for each frame labels-NNNN.npz (mask by class, points with their significance, lattice),
mask-NNNN.png and steps-NNNN.png: frame, Fourier plane, periodic part, residual and labels.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from latticewatch.cli import FAILURE, MisuseError
from latticewatch.label_picture import save_mask, save_steps
from latticewatch.sources import open_movie
from latticewatch_kernels.conditioning import FrameContentError
from latticewatch_kernels.labelling import LABEL_SIGMAS
from latticewatch_kernels.lattice import NoLatticeError
from latticewatch_kernels.point_labels import DOUBT_SIGMAS
from latticewatch_models.labelled import label_frame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("movie", type=Path, help=".npy, TIFF or HDF5")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--frames", metavar="A:B", help="frames A to B - 1; all by default")
    parser.add_argument(
        "--threshold",
        type=float,
        default=LABEL_SIGMAS,
        metavar="SIGMAS",
        help="standard deviations from which a column is labelled (%(default)g)",
    )


def run(options: argparse.Namespace) -> int:
    """Label; returns 1 when no frame could be labelled."""
    if options.threshold <= DOUBT_SIGMAS:
        raise MisuseError(
            f"--threshold {options.threshold:g}: give more than {DOUBT_SIGMAS:g} standard "
            "deviations; below that every frame is full of labels"
        )
    movie = open_movie(options.movie)
    chosen = frame_range(options.frames, movie.count)
    options.out.mkdir(parents=True, exist_ok=True)
    labelled = 0
    for index in chosen:
        name = f"{movie.path.name}, frame {index}"
        try:
            frame = label_frame(movie.read(index), options.threshold)
        except (FrameContentError, NoLatticeError) as error:
            print(f"latticewatch: {name} not labelled: {error}", file=sys.stderr)
            continue
        frame.save(options.out / f"labels-{index:04d}.npz")
        save_mask(options.out / f"mask-{index:04d}.png", frame.mask)
        save_steps(options.out / f"steps-{index:04d}.png", frame, name)
        print(f"frame {index}: {frame.summary()}")
        labelled += 1
    print(f"{labelled} of {len(chosen)} frames labelled, in {options.out}")
    return 0 if labelled else FAILURE


def frame_range(text: str | None, count: int) -> range:
    """Frames that ``A:B`` means in a movie of ``count``; either end may be left out.

    Raises
    ------
    MisuseError
        No such form, or no such frame.
    """
    if text is None:
        return range(count)
    first, colon, last = text.partition(":")
    try:
        start = int(first or 0)
        stop = int(last or count) if colon else start + 1
    except ValueError:
        raise MisuseError(f"--frames {text}: give A:B with whole numbers, such as 0:10") from None
    if not 0 <= start < stop <= count:
        raise MisuseError(f"--frames {text}: the movie has frames 0 to {count - 1}")
    return range(start, stop)
