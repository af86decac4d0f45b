"""What the log says of a stream's committed frames, for those who run the instrument."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from latticewatch.applied import Applied
from latticewatch.results import FrameResult
from latticewatch.standing import describe

log = logging.getLogger(__name__)


class OperatorLog:
    """Says what has changed in segmenter, processor and alerts, each thing once.

    Parameters
    ----------
    stream
        Name of the stream.
    limit
        Agreement of segmenter and labels below which results are not to be trusted.
    """

    def __init__(self, stream: str, limit: float) -> None:
        self._stream, self._limit = stream, limit
        self._dose_told = False

    def say(self, applied: Applied, unknown: Sequence[str]) -> None:
        """Tell of a step when it is committed; `unknown` are rules for want of the frames' dose."""
        for result in applied.results:
            self._say_alerts(result)
        if unknown and not self._dose_told:
            self._dose_told = True
            text = (
                "stream %s: frames do not tell their dose, so that %s cannot come true: give "
                "dose_e_per_A2 to Publisher.send"
            )
            log.warning(text, self._stream, " and ".join(map(repr, unknown)))
        for result in applied.results:
            self._say_origin(result)
        self._say_standing(applied)

    def _say_alerts(self, result: FrameResult) -> None:
        for alarm in result.alerts:
            loud = alarm.active and alarm.severity != "info"
            level = logging.WARNING if loud else logging.INFO
            said = f"alert {alarm.rule!r}" + ("" if alarm.active else " is over")
            text = "stream %s: %s: frame %d: %s"
            log.log(level, text, self._stream, said, alarm.frame, alarm.text)

    def _say_origin(self, result: FrameResult) -> None:
        """Tell of another model, or another processor."""
        if result.model is not None:
            why = f"{result.model.origin} model {result.model.digest[:12]}"
            text = "stream %s: from frame %d on the %s: %s"
            log.info(text, self._stream, result.frame, why, result.model.reason)
        if result.computed is not None:
            text, on = "stream %s: from frame %d on %s: %s", result.computed
            log.info(text, self._stream, result.frame, on, on.reason)

    def _say_standing(self, applied: Applied) -> None:
        standing = applied.standing
        if standing is None or standing.low == applied.was_low:
            return
        found = describe(standing.estimate, self._limit)
        if standing.low:
            text = (
                "stream %s: %s; see whether specimen, magnification or focus have changed, or "
                "train a segmenter on these frames (serve --self-train)"
            )
            log.warning(text, self._stream, found)
        else:
            log.info("stream %s: agreement is back: %s", self._stream, found)
