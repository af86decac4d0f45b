"""What a stream's writer remembers of its segmenter: the model, what it runs on, its checks.

Applied to frames strictly in order, like the tracker; all of it is in the store with the frames, so
that a session that is resumed goes on where it stood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from latticewatch.agreement import Counts
from latticewatch.computed import Computed
from latticewatch.segmenters import ModelRecord
from latticewatch.standing import Check, Rule, Standing
from latticewatch.steps import Analysed
from latticewatch.storage.session import Session


@dataclass(frozen=True)
class Calibration:
    """State after some frame.

    Attributes
    ----------
    rule
        When agreement is low.
    standing
        What the checks of the model in use add up to.
    model, since
        That model and the first frame analysed with it; None before the first frame.
    facts
        Its description, for the statistics.
    computed, computed_since
        What the newest usable frame was computed on, and the first frame of which that held.
    """

    rule: Rule = field(default_factory=Rule)
    standing: Standing = field(default_factory=Standing)
    model: ModelRecord | None = None
    since: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    computed: Computed | None = None
    computed_since: int = 0

    @classmethod
    def resumed(cls, session: Session, rule: Rule) -> Calibration:
        """Read back the state as of the last committed frame."""
        *_, on = (None, *session.computed())
        found = cls(rule) if on is None else cls(rule).on(on.pop("frame"), Computed(**on))
        records = history(session)
        if not records:
            return found
        since, model = records[-1]
        checks = session.checks(since)
        counted = tuple(
            Check(row["frame"], Counts(row["agreed"], row["missed"], row["unlabelled"]))
            for row in checks[-rule.window :]
        )
        if checks:
            standing = Standing(counted, checks[-1]["streak"], bool(checks[-1]["low"]))
        else:
            before = session.checks(last=since - 1)
            standing = Standing(low=bool(before and before[-1]["low"]))
        facts = session.statistics().get("model", {})
        return replace(found, standing=standing, model=model, since=since, facts=facts)

    def on(self, frame: int, computed: Computed) -> Calibration:
        """Take in what a frame was computed on."""
        if computed == self.computed:
            return self
        return replace(self, computed=computed, computed_since=frame)

    def after(self, step: Analysed) -> Calibration:
        """Take in an analysed frame; gives the state after it."""
        now, frame = self, step.arrival.frame
        if step.model is not None:
            if self.model is None or step.model.digest != self.model.digest:
                now = replace(now, model=step.model, since=frame, standing=self.standing.afresh())
            facts = {**step.model.facts, "digest": step.model.digest, "origin": step.model.origin}
            now = replace(now, facts={**facts, "since": now.since})
        if step.detections is not None and step.detections.computed is not None:
            now = now.on(frame, step.detections.computed)
        if step.detections is not None and step.detections.agreement is not None:
            check = Check(frame, step.detections.agreement)
            now = replace(now, standing=now.standing.after(check, self.rule))
        return now

    def begun(self, frame: int) -> tuple[ModelRecord | None, Computed | None]:
        """Give the model and what it is computed on, each where that frame is the first with it."""
        return (
            self.model if self.since == frame else None,
            self.computed if self.computed_since == frame else None,
        )

    def check_row(self, frame: int) -> dict[str, Any] | None:
        """Give `schema.CHECK_COLUMNS` but for the frame, if that frame was the last checked."""
        checks = self.standing.checks
        if not checks or checks[-1].frame != frame:
            return None
        estimate = self.standing.estimate
        return {
            "model": "" if self.model is None else self.model.digest,
            **vars(checks[-1].counts),
            "agreement": estimate.mean,
            "agreement_low": estimate.low,
            "agreement_high": estimate.high,
            "streak": self.standing.streak,
            "low": self.standing.low,
        }

    def statistics(self) -> dict[str, Any]:
        """Return plain values: the standing, and the model in use where one is known."""
        known = {"model": dict(self.facts)} if self.facts else {}
        return {**known, "calibration": self.standing.summary(self.rule)}


def history(session: Session) -> list[tuple[int, ModelRecord]]:
    """First frame and record of each model that a session had, in order."""
    return [
        (row["frame"], ModelRecord(row["digest"], row["origin"], row["file"], row["reason"]))
        for row in session.models()
    ]
