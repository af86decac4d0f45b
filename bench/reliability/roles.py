"""Service, source and subscriber in processes of their own, to be killed and started again."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent

SERVICE, SOURCE, WATCHER = "service", "source", "subscriber"
NAMES = (SERVICE, SOURCE, WATCHER)
PORTS = ("frames", "results", "queries")

#: What a process that was told to end may take to do so, seconds.
GRACE_S = 20.0

#: Both cores for frames; the metrics port is none of this.
SERVE = ("--device", "cpu", "--workers", "2", "--metrics", "")


class RoleError(RuntimeError):
    """A process ended that nobody has killed, or did not end when it was done."""


@dataclass
class Role:
    """A process that is started again when it was killed.

    Attributes
    ----------
    name
        One of `NAMES`.
    command
        Its command line.
    log
        File that takes what it says.
    process
        The one that runs now, or ran last.
    """

    name: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def started(cls, name: str, command: list[str], log: Path) -> Role:
        """Start it for the first time."""
        return cls(name, command, log, _start(command, log))

    @property
    def done(self) -> bool:
        """Whether it has ended well; raises RoleError where it ended otherwise."""
        status = self.process.poll()
        if status:
            raise RoleError(f"{self.name} ended with status {status}: {self.tail()}")
        return status == 0

    def kill(self) -> None:
        """SIGKILL, and start anew."""
        self.process.kill()
        self.process.wait()
        self.process = _start(self.command, self.log)

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float) -> None:
        """Wait until it ends well."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            text = f"{self.name} did not end in {timeout_s:g} s: {self.tail()}"
            raise RoleError(text) from None
        _ = self.done

    def end(self) -> None:
        """End it in order; kill it where it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def tail(self) -> str:
        """Last lines of what it has said."""
        return self.log.read_text(errors="replace")[-1500:]


def _start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


def free_ports() -> dict[str, str]:
    """Addresses by name that are free now; a service that is started again has the same."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in PORTS]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        numbers = [one.getsockname()[1] for one in taken]
    return {name: f"tcp://127.0.0.1:{number}" for name, number in zip(PORTS, numbers, strict=True)}


@contextlib.contextmanager
def cast(movie: Path, folder: Path) -> Iterator[tuple[dict[str, Role], dict[str, str]]]:
    """Start the three on one stream; gives them by name, and the service's addresses."""
    folder.mkdir(parents=True)
    roles: dict[str, Role] = {}
    ports = free_ports()
    with contextlib.ExitStack() as stack:
        addresses = [part for name, at in ports.items() for part in (f"--{name}", at)]
        serve = ["-m", "latticewatch", "serve", "--data", str(folder / "data"), *addresses, *SERVE]
        source = [str(HERE / "source.py"), str(movie), ports["frames"], ports["queries"]]
        watcher = [str(HERE / "watcher.py"), ports["results"], ports["queries"]]
        commands = {
            SERVICE: serve,
            SOURCE: [*source, str(folder / "spool")],
            WATCHER: [*watcher, str(folder / "seen.txt")],
        }
        for name in NAMES:
            command = [sys.executable, *commands[name]]
            roles[name] = Role.started(name, command, folder / f"{name}.log")
            stack.callback(roles[name].end)
        yield roles, ports
