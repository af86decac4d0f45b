"""Time AtomAI's SegPredictor and Locator on given frames, in an environment of its own.

``python bench/peers/run_atomai.py --venv DIR --frames FRAMES.npy`` prints one line of JSON on
standard output. DIR is created and filled when it is missing (about 1.6 GB with a CPU build of
torch; nothing is shared with latticewatch's own environment). With ``--python PATH`` in its place
an interpreter is used that has AtomAI already, on a machine without a network say. When AtomAI
cannot be had, the last line on standard error is the reason and the exit status is 1, so that the
caller can print 'not measured: reason'. This file needs the standard library only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from environment import PeerError, prepare, run

HERE = Path(__file__).resolve().parent
#: 60 frames of 512 x 512 take about a minute on two cores, both ways; ten times that is a hang.
MEASURE_TIMEOUT_S = 900


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--venv", type=Path, help="environment, made if missing")
    where.add_argument("--python", type=Path, help="interpreter that has AtomAI")
    parser.add_argument(
        "--frames", type=Path, required=True, help=".npy of shape (n, rows, columns)"
    )
    parser.add_argument("--limit", type=int, default=40, help="frames to time (default 40)")
    parser.add_argument(
        "--peaks", type=float, help="peaks a frame to aim at (see atomai_timing.py)"
    )
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's own choice)")
    parser.add_argument("--gpu", action="store_true", help="run the network on torch's first GPU")
    parser.add_argument("--allow-cuda", action="store_true", help="accept a CUDA build of torch")
    given = parser.parse_args()
    command: list[str | Path] = [HERE / "atomai_timing.py", given.frames.resolve()]
    for name in ("limit", "peaks", "threads"):
        if getattr(given, name) is not None:
            command += [f"--{name}", str(getattr(given, name))]
    if given.gpu:
        command.append("--gpu")
    if not given.frames.is_file():
        parser.error(f"{given.frames} is no file: give an .npy of shape (n, rows, columns)")
    try:
        python = given.python
        if python is None:
            allow_cuda = given.allow_cuda or given.gpu
            python = prepare(given.venv.resolve(), allow_cuda=allow_cuda)
        result = run([python, *command], "timing AtomAI", MEASURE_TIMEOUT_S)
    except (PeerError, OSError) as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        return 1
    print(result.strip().splitlines()[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
