"""What the tracker's estimators reach against simulated truth, as tables.

    python bench/kinetics.py [--only PART ...] [--quick]

``--quick`` takes fewer movies, to see that it runs; its figures scatter.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import time
from collections.abc import Sequence

import estimating

#: One module of `estimating` each.
PARTS = tuple(sorted(module.name for module in pkgutil.iter_modules(estimating.__path__)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of the parts that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    parser.add_argument("--quick", action="store_true", help="fewer movies")
    chosen = parser.parse_args(arguments)
    for part in chosen.only:
        start = time.perf_counter()
        table = importlib.import_module(f"estimating.{part}").main_table(chosen.quick)
        print(f"## {part}\n\n{table}\n\n({time.perf_counter() - start:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()
