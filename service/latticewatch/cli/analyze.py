"""Run the service's own pipeline over a recorded movie.

For example::

  latticewatch analyze movie.tif --out results --pixel-size 0.03 --frame-time 2.25
  latticewatch analyze frame.npy --out results --crystal MoS2 --picture

Writes session.sqlite, defects.parquet and statistics.json, and with --picture an overlay of every
frame. The pixel size is read from the file, from a .json beside it, or from --pixel-size; without
any it is taken from the lattice constant of the crystal.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latticewatch.cli import FAILURE, MisuseError
from latticewatch.client.messages import DefectTable
from latticewatch.config import load_settings
from latticewatch.replay import Replay, replay
from latticewatch.sources import open_movie
from latticewatch.storage.session import SESSION_FILE, Session
from latticewatch.writer import STATISTICS_FILE

PARQUET_FILE = "defects.parquet"

#: Given in place of a pixel size: calibrate on the lattice.
FROM_LATTICE = "lattice"

#: A lattice constant this far off the literature's is pointed out: a microscope's magnification is
#: good to 1 or 2 %.
CALIBRATION_TOLERANCE = 0.03


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("movie", type=Path, help=".npy, TIFF or HDF5")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--pixel-size",
        type=_pixel_size,
        metavar="NM",
        help=f"overrides the file's; '{FROM_LATTICE}': take it from the crystal's lattice constant",
    )
    parser.add_argument("--frame-time", type=float, metavar="S", help="overrides the file's")
    parser.add_argument("--crystal", help="WS2 (default), MoS2, WSe2, graphene")
    parser.add_argument("--picture", action="store_true", help="write overlay-NNNN.png too")
    parser.add_argument("--model", metavar="FILE", help="another segmenter (ONNX)")
    parser.add_argument(
        "--device", help="auto, cpu or cuda:N; of several, the next where one fails"
    )
    parser.add_argument("--threshold", type=float, help="least probability of a defect")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings, TOML")


def run(options: argparse.Namespace) -> int:
    """Analyse; returns 1 when no frame could be used."""
    if (options.out / SESSION_FILE).exists():
        raise MisuseError(f"{options.out} holds a session already: give a new folder")
    keys = ("crystal", "model", "device", "threshold")
    settings = load_settings(options.config, analysis={key: getattr(options, key) for key in keys})
    movie = open_movie(options.movie)
    job = Replay(
        movie,
        options.out,
        settings,
        pixel_size_nm=_chosen(options.pixel_size, movie.pixel_size_nm),
        frame_time_s=options.frame_time or movie.frame_time_s,
        pictures=options.picture,
    )
    statistics = replay(job, _progress)
    with Session.open_read(options.out) as session:
        table = session.defects()
        refused = [row for row in session.frames() if row["status"] != "ok"]
    save_parquet(options.out / PARQUET_FILE, table)
    for row in refused:
        print(f"latticewatch: frame {row['frame']} not used: {row['reason']}", file=sys.stderr)
    print(_summary(job, table, statistics))
    return FAILURE if len(refused) == movie.count else 0


def _pixel_size(text: str) -> float | str:
    """Read the option."""
    if text == FROM_LATTICE:
        return text
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no length: give nm, or '{FROM_LATTICE}'")
    return value


def _chosen(option: float | str | None, recorded: float | None) -> float | None:
    if option == FROM_LATTICE:
        return None
    return recorded if option is None else float(option)


def save_parquet(path: Path, table: DefectTable) -> None:
    """Write the defect table with its columns as they are everywhere."""
    from pyarrow import parquet

    parquet.write_table(table.to_arrow(), path)


def _progress(done: int, count: int) -> None:
    if sys.stderr.isatty():
        print(f"\rframe {done} of {count} ", end="", file=sys.stderr, flush=True)


def _summary(job: Replay, table: DefectTable, statistics: Mapping[str, Any]) -> str:
    lines = [f"{job.movie.count} frames, {len(table)} rows of defects"]
    lines += _on_calibration(statistics)
    if job.movie.count > 1 and job.frame_time_s is None:
        lines.append("no frame time is known, so a second stands for a frame: give --frame-time")
    names = dict.fromkeys(table.species.tolist())
    counts = [f"{name} {(table.species == name).sum()}" for name in sorted(names)]
    if counts:
        lines.append("by species: " + ", ".join(counts))
    lines.append(f"in {job.out}: {SESSION_FILE}, {PARQUET_FILE}, {STATISTICS_FILE}")
    return "\n".join(lines)


def _on_calibration(statistics: Mapping[str, Any]) -> list[str]:
    """Say what lattice was measured, and whether crystal and pixel size fit it."""
    lattice, source = statistics["lattice"], statistics["pixel_size_source"]
    constant = lattice["constant_nm"]["mean"]
    if constant is None:
        size = statistics["pixel_size_nm"]  # None too where no frame showed a lattice
        origin = "from the literature's lattice constant of the crystal"
        return [f"pixel size {size:.5f} nm, {origin}"] if size else []
    deviation, literature = lattice["deviation"]["mean"], lattice["literature_nm"]
    measured = f"lattice constant {constant:.4f} nm, {deviation:+.1%} off the literature's"
    lines = [f"{measured} {literature} nm (pixel size from the {source})"]
    if abs(deviation) > CALIBRATION_TOLERANCE:
        fitting = statistics["pixel_size_nm"] / (1 + deviation)
        lines.append(
            f"pixel size and crystal do not fit: check both; {fitting:.5f} nm would fit "
            f"(--pixel-size {FROM_LATTICE})"
        )
    return lines
