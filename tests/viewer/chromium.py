"""A headless Chromium, driven over the pipes of its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

#: Software rendering, and nothing that asks the network.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--remote-debugging-pipe",
)  # fmt: skip

#: Seconds that an answer may take: the first frames of SwiftShader take some.
_ANSWER_S = 60.0


def executable() -> str | None:
    """Path of a Chromium, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """The one tab of a browser."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._pending = b""
        self._number = 0
        self._session: str | None = None
        self.requested: dict[str, str] = {}
        self.refused: set[str] = set()
        target = self._targets()
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.ask("Network.enable")
        self.ask("Page.enable")

    def resize(self, width: int, height: int) -> None:
        """Make the page so large: a window's size holds the browser's own bars."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def hover(self, x: float, y: float) -> None:
        """Rest the pointer there."""
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x: float, y: float) -> None:
        """Press and release the left button there."""
        self.hover(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )  # fmt: skip

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            request["sessionId"] = self._session
        os.write(self._commands, json.dumps(request).encode() + b"\0")
        until = time.monotonic() + _ANSWER_S
        while True:
            message = self._receive(until, method)
            self._note(message)
            if message.get("id") == self._number:
                assert "error" not in message, message["error"]
                return message["result"]

    def screenshot(self) -> np.ndarray:
        """Pixels as they are now, uint8 (rows, columns, 3)."""
        picture = base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))

    def _note(self, message: dict[str, Any]) -> None:
        """Keep account of what was asked for, and what the page's policy refused."""
        told = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requested[told["requestId"]] = told["request"]["url"]
        if message.get("method") == "Network.loadingFailed" and told.get("blockedReason") == "csp":
            self.refused.add(told["requestId"])

    def reached(self) -> list[str]:
        """Addresses that requests were let go to."""
        return [url for key, url in self.requested.items() if key not in self.refused]

    def _targets(self) -> str:
        found = self.ask("Target.getTargets")["targetInfos"]
        return next(target["targetId"] for target in found if target["type"] == "page")

    def _receive(self, until: float, waiting_for: str) -> dict[str, Any]:
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._answers], [], [], until - time.monotonic())
            assert ready, f"Chromium did not answer {waiting_for} in {_ANSWER_S:g} s"
            read = os.read(self._answers, 1 << 20)
            assert read, "Chromium has ended"
            self._pending += read
        message, _, self._pending = self._pending.partition(b"\0")
        return json.loads(message)


@contextlib.contextmanager
def browsing(address: str, width: int, height: int) -> Iterator[Page]:
    """Open an address in a fresh browser."""
    program = executable()
    assert program is not None
    command_end, commands = os.pipe()
    answers, answer_end = os.pipe()
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        arguments = [
            program, *FLAGS, f"--user-data-dir={folder}", f"--window-size={width},{height}", address
        ]  # fmt: skip
        # Chromium reads from 3 and writes to 4; a shell puts them there
        wired = f'exec "$@" 3<&{command_end} 4>&{answer_end}'
        with subprocess.Popen(
            ["bash", "-c", wired, "bash", *arguments],
            pass_fds=(command_end, answer_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            os.close(command_end)
            os.close(answer_end)
            try:
                yield Page(commands, answers)
            finally:
                os.close(commands)
                os.close(answers)
                process.terminate()
                process.wait(20)
