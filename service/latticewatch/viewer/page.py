"""The page of ``--web``: Rerun's own, with leave to speak to this machine alone.

Rerun's page loads a font, asks for newer versions and sends usage statistics to its makers. Here
its files are handed on with a Content-Security-Policy (W3C, "Content Security Policy Level 3") that
makes the browser refuse every address but the two that the viewer itself listens on.
"""

from __future__ import annotations

import contextlib
import http.client
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import quote, urlsplit

LOOPBACK = "127.0.0.1"

#: Headers of Rerun's answers that its page needs: it shows progress by the second.
_HANDED_ON = ("Content-Type", "rerun-final-length")


def address(port: int, server: str) -> str:
    """Address to open: the page on `port`, drawing what `server` holds, in the dark theme."""
    query = f"url={quote(server, safe='')}&theme=dark&hide_welcome_screen&persist=0"
    return f"http://{LOOPBACK}:{port}/?{query}"


def policy(server_port: int) -> str:
    """Return the policy: files from the page itself, data from Rerun's server, else nothing."""
    rules = {
        "default-src": "'self'",
        "script-src": "'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "worker-src": "'self' blob:",
        "connect-src": f"'self' data: blob: http://{LOOPBACK}:{server_port}",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


@contextlib.contextmanager
def served(port: int, rerun_port: int, server_port: int) -> Iterator[int]:
    """Serve the page while the context lasts; gives its port.

    Parameters
    ----------
    port
        Where, on loopback; 0 for a free one.
    rerun_port, server_port
        Where Rerun serves its files, and its data.

    Raises
    ------
    RuntimeError
        The port is taken.
    """

    class Handler(_Handler):
        upstream: ClassVar[int] = rerun_port
        rule: ClassVar[str] = policy(server_port)

    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    except OSError as error:
        raise RuntimeError(
            f"port {port} is taken: end the viewer that holds it, or give --port"
        ) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="page", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    upstream: ClassVar[int]
    rule: ClassVar[str]

    def do_GET(self) -> None:
        """Hand Rerun's file on."""
        source = http.client.HTTPConnection(LOOPBACK, self.upstream)
        with contextlib.closing(source):
            try:
                source.request("GET", urlsplit(self.path).path)
                answer = source.getresponse()
            except OSError:
                self.send_error(502, "Rerun's server has ended: start the viewer again")
                return
            self.send_response(answer.status)
            for name in _HANDED_ON:
                if value := answer.headers.get(name):
                    self.send_header(name, value)
            self.send_header("Content-Security-Policy", self.rule)
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the browser went away
                shutil.copyfileobj(answer, self.wfile)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is inherited
        """Say nothing of single files."""
