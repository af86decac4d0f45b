"""What the int8 and float16 variants of a model cost in accuracy and gain in time.

    python bench/variants.py [--model FILE] [--frames N] [--doses E ...]

Writes the variants to a temporary folder, judges them and the model itself on the same simulated
frames, and prints a Markdown table; times are of a frame of 512 x 512.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from designing.timing import milliseconds, processor_ms

from latticewatch_models.runtime import ZOO_MODEL, Segmenter
from latticewatch_models.validation import judge, judge_columns, validation_frame
from latticewatch_models.variants import write_fp16, write_int8

HEADER = (
    "| dose, e/px | variant | MB | ms, 2 threads | ms of a processor, 1 thread | F1, all | VS F1 "
    "| ECE | position error, px | column recall | column precision | column error, px |\n"
    + "|---" * 12
    + "|"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=ZOO_MODEL, help="the shipped model without")
    parser.add_argument("--frames", type=int, default=40, help="to a dose (%(default)s)")
    parser.add_argument("--doses", type=float, nargs="+", default=[400.0, 1600.0, 6400.0])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = {"float32": options.model}
        for name, write in (("int8", write_int8), ("float16", write_fp16)):
            files[name] = Path(folder) / f"{name}.onnx"
            write(options.model, files[name])
        print(HEADER)
        times = {
            name: (
                milliseconds(Segmenter(path, threads=2)),
                processor_ms(Segmenter(path, threads=1)),
            )
            for name, path in files.items()
        }
        for dose in options.doses:
            frames = [validation_frame(dose, k) for k in range(options.frames)]
            for name, path in files.items():
                segmenter = Segmenter(path, threads=1)
                result = judge(segmenter.segment, frames)
                s = result.score
                cells = [s.f1(), s.f1(["VS"], ["chalcogen"]), result.calibration_error]
                cells.append(s.position_error())
                if segmenter.card.columns:
                    c = judge_columns(segmenter.segment, frames)
                    cells += [c.recall(), c.precision(), c.position_error()]
                else:
                    cells += [np.nan] * 3
                size = path.stat().st_size / 1e6
                told = " | ".join(f"{cell:.3f}" for cell in cells)
                both = " | ".join(f"{time:.1f}" for time in times[name])
                print(f"| {dose:g} | {name} | {size:.2f} | {both} | {told} |")


if __name__ == "__main__":
    main()
