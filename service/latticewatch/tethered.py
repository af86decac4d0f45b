"""A latticewatch command that ends with its starter: ``python -m latticewatch.tethered train ...``.

Its standard input is a pipe that nothing is written to. When the other end closes, because the
service that holds it has ended, by whatever means, the command is ended too.
"""

from __future__ import annotations

import os
import sys
import threading

from latticewatch.cli import main


def _end_with_starter() -> None:
    # not sys.stdin: a thread that waits in a buffered reader holds its lock when Python ends
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_starter, daemon=True).start()
    sys.exit(main())
