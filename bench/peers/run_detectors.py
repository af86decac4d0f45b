"""Let AtomAI and scikit-image look for defects, in an environment of their own.

``python bench/peers/run_detectors.py --venv DIR --folder FOLDER`` reads FOLDER/frames.npz and
writes FOLDER/found.json (see detect.py). As run_atomai.py, it makes the environment when it is
missing, and where that cannot be done the last line on standard error is the reason and the exit
status is 1. This file needs the standard library only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from environment import PeerError, prepare, run

HERE = Path(__file__).resolve().parent
#: Training, then 7 doses of 50 frames at half a second; four times that is a hang.
DETECT_TIMEOUT_S = 2400


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, required=True, help="environment, made if missing")
    parser.add_argument("--folder", type=Path, required=True, help="holds frames.npz")
    parser.add_argument("--cycles", type=int, default=200, help="mini-batches to train AtomAI")
    parser.add_argument("--allow-cuda", action="store_true", help="accept a CUDA build of torch")
    given = parser.parse_args()
    try:
        python = prepare(given.venv.resolve(), allow_cuda=given.allow_cuda)
        options = ["--cycles", str(given.cycles)]
        command = [python, HERE / "detect.py", given.folder.resolve(), *options]
        run(command, "detecting with AtomAI and scikit-image", DETECT_TIMEOUT_S)
    except (PeerError, OSError) as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
