"""Any command, ended when its starter ends: ``python -m latticewatch.leash COMMAND ...``.

Standard input is a pipe that nothing is written to. When its other end closes, because the starter
has ended, by whatever means, the command is ended too. `tethered` does so for our own commands.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

#: The command gets so long to end by itself before it is killed, seconds.
_GRACE_S = 3.0


def main(command: list[str]) -> int:
    """Run the command until it ends or our standard input closes; gives its exit status."""
    # Ctrl-C reaches the starter too, and it is for the starter to end its children in order
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:  # noqa: S603 - our starter's
        threading.Thread(target=_end_with_starter, args=(process,), daemon=True).start()
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        return process.wait()


def _end_with_starter(process: subprocess.Popen[bytes]) -> None:
    # not sys.stdin: a thread that waits in a buffered reader holds its lock when Python ends
    while os.read(0, 4096):
        pass
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
        return
    process.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
