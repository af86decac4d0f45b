"""The promises of the stream, held against real processes; prints what was done, PASS or FAIL.

    python bench/reliability.py [--only PART ...] [--long] [--frames N]

``--long`` takes hours; without, a part takes a minute or two. Ends with status 1 where one fails.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence

#: One module of the package `reliability` each, with a ``main(long) -> bool``.
PARTS = ("kills", "weather", "neighbours", "soak")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    parser.add_argument("--long", action="store_true", help="as much as the promises ask for")
    parser.add_argument("--frames", type=int, help="length of the soak")
    chosen = parser.parse_args(arguments)
    failed = []
    for part in chosen.only:
        start = time.perf_counter()
        print(f"## {part}\n", flush=True)
        further = {"frames": chosen.frames} if part == "soak" else {}
        if not importlib.import_module(f"reliability.{part}").main(chosen.long, **further):
            failed.append(part)
        print(f"\n({time.perf_counter() - start:.0f} s)\n", flush=True)
    print(f"FAIL: {', '.join(failed)}" if failed else "PASS")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
