"""The one writer of a stream: applies frames in order to the tracker, and commits what they bring.

The live service and ``latticewatch analyze`` both go through here, which is why they agree.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latticewatch.analysis import Stopwatch
from latticewatch.announce import (
    frame_info,
    frame_messages,
    frame_result,
    refused_result,
    statistics_message,
)
from latticewatch.calibration import Calibration, history
from latticewatch.client.messages import DefectTable, Message, Statistics
from latticewatch.config import Settings
from latticewatch.deliveries import End, Gap, Refusal
from latticewatch.detections import FrameInfo
from latticewatch.reorder import Position
from latticewatch.results import FrameResult, SessionEnd, missing_frames, refused_frame
from latticewatch.schema import Fsync
from latticewatch.segmenters import ModelRecord
from latticewatch.standing import Rule, Standing, describe
from latticewatch.steps import Analysed, Outcome, Step
from latticewatch.store import Store
from latticewatch.tracker import Tracker, TrackerSettings
from latticewatch_models.crystal import Crystal

log = logging.getLogger(__name__)

STATISTICS_FILE = "statistics.json"


class StreamWriter:
    """Tracker and store of one stream; call it from one thread at a time.

    Parameters
    ----------
    stream
        Name of the stream.
    directory
        Its folder: ``session.sqlite`` and, after an end, ``statistics.json``.
    settings, crystal
        The tracker's.
    fsync
        When a commit reaches the disk; see `Store.open`.
    about
        Put into the statistics as it stands: versions, the model, the settings.
    rule
        When the agreement of segmenter and labels is low.

    Raises
    ------
    StoreError
        The session's file cannot be opened.
    ValueError
        It was written with another crystal or other tracker settings.
    """

    def __init__(
        self,
        stream: str,
        directory: Path,
        settings: TrackerSettings,
        crystal: Crystal,
        *,
        fsync: Fsync = "always",
        about: Mapping[str, Any] | None = None,
        rule: Rule | None = None,
    ) -> None:
        self.stream = stream
        self.directory = directory
        self._about = dict(about or {})
        self._store = Store.open(directory, fsync=fsync)
        try:
            state = self._store.state()
            self._tracker = (
                Tracker(settings, crystal)
                if state is None
                else Tracker.restore(state, settings, crystal)
            )
            self._calibration = Calibration.resumed(self._store, rule or Rule())
            if self.position.ended:
                # a crash may have come between the commit of an end and the writing of this file
                self._write_statistics(self._store.statistics())
        except BaseException:
            self._store.close()
            raise

    @property
    def position(self) -> Position:
        """Where the session stands."""
        return self._store.position()

    @property
    def standing(self) -> Standing:
        """How segmenter and labels agree, by what was processed."""
        return self._calibration.standing

    def models(self) -> list[ModelRecord]:
        """Return the records of the models that the session had, in order."""
        return [record for _, record in history(self._store)]

    def latest(self) -> tuple[Statistics, ...]:
        """Return the last statistics, for subscribers that come before the next frame."""
        data = self._store.statistics()
        position = self.position
        if not data:
            return ()
        return (
            Statistics(
                stream=self.stream, epoch=position.epoch or 0, frame=position.frame - 1, data=data
            ),
        )

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def process(self, steps: Iterable[Step]) -> list[Outcome]:
        """Apply steps in order and commit them; what is returned is on the disk.

        Raises
        ------
        StoreError
            The last transaction was not committed. The tracker stands past it, so the writer must
            be made anew.
        """
        outcomes: list[Outcome] = []
        pending: list[_Applied] = []
        for step in steps:
            pending.append(self._apply(step))
            if isinstance(step, End):
                outcomes += self._commit(pending)
                pending = []
        return outcomes + (self._commit(pending) if pending else [])

    def _apply(self, step: Step) -> _Applied:
        before = self._calibration
        if isinstance(step, Analysed):
            self._calibration = before.after(step)
        applied = self._track(step)
        if not isinstance(step, Analysed):
            return applied
        now = self._calibration
        check = now.check_row(step.arrival.frame)
        switched = now.model if now.since == step.arrival.frame else None
        (result,) = applied.results
        return replace(
            applied,
            results=[replace(result, check=check, model=switched)],
            standing=None if check is None else now.standing,
            was_low=before.standing.low,
        )

    def _track(self, step: Step) -> _Applied:
        watch = Stopwatch()
        with watch.stage("track"):
            if isinstance(step, End):
                update = self._tracker.finish()
                end = SessionEnd(step.frame, step.epoch, step.seq, update.closed, update.events)
                return _Applied(step, [], watch.timings_ms, end=end)
            if isinstance(step, Analysed) and step.detections is not None:
                update = self._tracker.apply(frame_info(step.arrival), step.detections)
                result = frame_result(step.arrival, step.detections, update)
                messages = frame_messages(step, result.table or DefectTable.empty())
                return _Applied(step, [result], watch.timings_ms, messages)
            return _Applied(step, self._hole(_holes_of(step)), watch.timings_ms)

    def _hole(self, results: list[FrameResult]) -> list[FrameResult]:
        """Tell the tracker that frames without detections have passed."""
        last = results[-1]
        time_s = self._tracker.time_s if last.time_s is None else last.time_s
        update = self._tracker.apply(FrameInfo(last.frame, time_s, (0, 0)), None)
        return [*results[:-1], replace(last, closed=update.closed, events=update.events)]

    def _commit(self, pending: list[_Applied]) -> list[Outcome]:
        """Write what was applied in one transaction; the statistics are those after the last."""
        last = pending[-1]
        watch = Stopwatch()
        with watch.stage("commit"):
            results = [result for applied in pending for result in applied.results]
            statistics = self._statistics(last)
            self._store.commit(results, self._tracker.save(), statistics, last.end)
            if last.end is not None:
                self._write_statistics(statistics)
        for applied in pending:
            self._say(applied)
        messages = (*last.messages, statistics_message(last.step, statistics))
        timings = {**last.timings_ms, **watch.timings_ms}
        return [
            *(applied.outcome() for applied in pending[:-1]),
            replace(last, messages=messages, timings_ms=timings).outcome(),
        ]

    def _say(self, applied: _Applied) -> None:
        """Log what an operator should know of the segmenter, once, when it is committed."""
        for result in applied.results:
            if result.model is not None:
                why = f"{result.model.origin} model {result.model.digest[:12]}"
                text = "stream %s: from frame %d on the %s: %s"
                log.info(text, self.stream, result.frame, why, result.model.reason)
        standing = applied.standing
        if standing is None or standing.low == applied.was_low:
            return
        text = describe(standing.estimate, self._calibration.rule.limit)
        if standing.low:
            log.warning(
                "stream %s: %s; see whether specimen, magnification or focus have changed, or "
                "train a segmenter on these frames (serve --self-train)", self.stream, text,
            )  # fmt: skip
        else:
            log.info("stream %s: agreement is back: %s", self.stream, text)

    def _statistics(self, last: _Applied) -> dict[str, Any]:
        epoch = last.step.arrival.epoch if isinstance(last.step, Analysed) else last.step.epoch
        return {
            "stream": self.stream,
            "epoch": epoch,
            "ended": last.end is not None,
            **self._tracker.statistics(),
            **self._about,
            **self._calibration.statistics(),
        }

    def _write_statistics(self, statistics: Mapping[str, Any]) -> None:
        fresh = self.directory / (STATISTICS_FILE + ".new")
        fresh.write_text(json.dumps(statistics, indent=1), encoding="utf-8")
        fresh.replace(self.directory / STATISTICS_FILE)


@dataclass(frozen=True)
class _Applied:
    """A step that the tracker has taken and that is not committed yet."""

    step: Step
    results: list[FrameResult]
    timings_ms: dict[str, float]
    messages: tuple[Message, ...] = ()
    end: SessionEnd | None = None
    standing: Standing | None = None
    was_low: bool = False

    def outcome(self) -> Outcome:
        """Give what it came to, once it is committed."""
        model = self.results[-1].model if self.results else None
        return Outcome(self.step, self.messages, self.timings_ms, self.standing, model)


def tracker_settings(settings: Settings) -> TrackerSettings:
    """Return the tracker's share of the settings."""
    least = settings.analysis.vacancy_threshold
    return TrackerSettings(**settings.tracker.model_dump(), vacancy_threshold=least)


def _holes_of(step: Analysed | Refusal | Gap) -> list[FrameResult]:
    if isinstance(step, Gap):
        return list(missing_frames(step))
    return [refused_frame(step) if isinstance(step, Refusal) else refused_result(step)]
