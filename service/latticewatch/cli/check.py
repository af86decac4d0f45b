"""Read a session through and say whether it holds what was committed.

For example::

  latticewatch check results

The file's structure, the tracker's state and every frame's row and defects are held against their
checksums; tracks, events, alerts and pictures have none.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from latticewatch.storage.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("session", type=Path, metavar="SESSION", help="folder of session.sqlite")


def run(options: argparse.Namespace) -> int:
    """Check; a damaged session ends with StoreError."""
    from latticewatch.storage.checksums import check_rows

    with Session.open_read(options.session) as session:
        session.check_whole()
        session.state()
        check_rows(session)
        place = session.place()
        known = len(session.checksums())
    frames = 0 if place is None else place[2]
    without = "" if known == frames else f", {frames - known} of them without a checksum"
    print(f"{session.path}: {frames} frames, whole{without}")
    return 0
