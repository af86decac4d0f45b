"""A training in a process of its own: at low priority, waited for, ended with the service."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from latticewatch.config import ConfigError

log = logging.getLogger(__name__)

#: Movie, number of its frames, file to write -> command line.
Trainer = Callable[[Path, int, Path], list[str]]

#: Priority of a training, in steps of ``nice``: frames that arrive come first.
NICENESS = 10

#: What training needs beside what the service needs.
_NEEDED = ("torch", "onnx", "onnxscript")

#: Of a training's log, so much is quoted when it failed.
_QUOTED = 300


class TrainingError(RuntimeError):
    """A training came to nothing; ``outcome`` is its name in the metrics."""

    def __init__(self, text: str, outcome: str = "failed") -> None:
        super().__init__(text)
        self.outcome = outcome


def check_trainable() -> None:
    """Raise ConfigError unless what training needs is installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"self-training needs {', '.join(missing)}, which is not installed: "
            "pip install 'latticewatch[cpu,train]', or serve without --self-train"
        )


def latticewatch_train(iterations: int) -> Trainer:
    """Return the command line of ``latticewatch train`` on a movie."""

    def command(movie: Path, frames: int, out: Path) -> list[str]:
        return [
            sys.executable, "-m", "latticewatch.tethered", "train", str(movie),
            "--frames", f"0:{frames}", "--out", str(out), "--iterations", str(iterations),
        ]  # fmt: skip

    return command


class TrainingProcess:
    """Starts a command; `wait` for it in one thread, `kill` it from any.

    Parameters
    ----------
    command
        The command line. Its standard input ends when this process does.
    log_path
        Gets what it prints.

    Raises
    ------
    TrainingError
        It cannot be started.
    """

    def __init__(self, command: list[str], log_path: Path) -> None:
        self._log_path = log_path
        try:
            with log_path.open("wb") as output:
                self._process = subprocess.Popen(  # noqa: S603 - our own command
                    command,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a group of its own, which can be ended as a whole
                    creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),
                )
        except OSError as error:
            raise TrainingError(f"{command[0]} cannot be started: {error}") from error
        _lower_priority(self._process.pid)

    def wait(self, timeout_s: float) -> None:
        """Wait until it has ended well.

        Raises
        ------
        TrainingError
            It failed, or took longer than ``timeout_s`` and was killed.
        """
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TrainingError(
                f"it was ended after {timeout_s:g} s: raise calibration.timeout_s or lower "
                "calibration.iterations", "timeout",
            ) from None  # fmt: skip
        finally:
            self.kill()
        if status:
            text = self._log_path.read_text(encoding="utf-8", errors="replace")
            last = " ".join(text.split())[-_QUOTED:]
            raise TrainingError(f"it ended with status {status}: {last or 'it said nothing'}")

    def kill(self) -> None:
        """End it and what it started, if it runs still."""
        if self._process.poll() is None:
            if os.name == "posix":
                with contextlib.suppress(ProcessLookupError):  # it has ended just now
                    os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def _lower_priority(pid: int) -> None:
    try:
        if os.name == "posix":
            os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
    except OSError as error:
        log.warning("a training runs at the service's own priority: %s", error)
