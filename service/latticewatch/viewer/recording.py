"""Drawings into Rerun: a stream of its own for every session."""

from __future__ import annotations

from pathlib import Path

import rerun as rr

from latticewatch.viewer.blueprint import Sizes, blueprint
from latticewatch.viewer.drawing import ACQUIRED, EARLIEST_UNIX_S, FRAME, Drawing
from latticewatch.viewer.series import line_styles
from latticewatch.viewer.turn_marks import mark_styles

APPLICATION = "latticewatch"

#: Seconds that Rerun may take to accept a frame before it is taken for dead.
_FLUSH_S = 20.0


class Recording:
    """One session as Rerun holds it.

    Parameters
    ----------
    server
        Address of Rerun's own process, or None.
    file
        Where the session is kept, or None.
    """

    def __init__(self, server: str | None, file: Path | None) -> None:
        sinks: list[rr.GrpcSink | rr.FileSink] = []
        if server is not None:
            sinks.append(rr.GrpcSink(server))
        if file is not None:
            sinks.append(rr.FileSink(str(file)))
        self._stream = rr.RecordingStream(APPLICATION, send_properties=False)
        self._stream.set_sinks(*sinks)
        self._stream.set_log_time_enabled(False)
        self._stream.set_log_tick_enabled(False)
        self._sizes = Sizes()
        self._stream.send_blueprint(blueprint(self._sizes))
        for entity, style in (*line_styles(), *mark_styles()):
            self._stream.log(entity, style, static=True)

    def draw(self, drawing: Drawing) -> None:
        """Log a drawing at its moment."""
        self._stream.reset_time()
        self._stream.set_time(FRAME, sequence=max(0, drawing.frame))
        if drawing.time_s is not None:
            if drawing.time_s > EARLIEST_UNIX_S:
                self._stream.set_time(ACQUIRED, timestamp=drawing.time_s)
            else:
                self._stream.set_time(ACQUIRED, duration=drawing.time_s)
        for entity, style in drawing.static:
            self._stream.log(entity, style, static=True)
        for entity, content in drawing.entries:
            self._stream.log(entity, content)

    def fit(self, sizes: Sizes) -> None:
        """Lay the page out anew where sizes have changed: in a session's first frames."""
        if sizes != self._sizes:
            self._sizes = sizes
            self._stream.send_blueprint(blueprint(sizes))

    def flush(self) -> None:
        """Wait until Rerun has what was logged; raises RuntimeError if it does not take it."""
        self._stream.flush(timeout_sec=_FLUSH_S)

    def close(self) -> None:
        """Finish the file and let go of the server."""
        self._stream.disconnect()
