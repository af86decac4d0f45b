"""A step between the tracker and the commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from latticewatch.announce import refused_result
from latticewatch.client.messages import Message
from latticewatch.receiving.deliveries import Gap, Refusal
from latticewatch.results import FrameResult, SessionEnd, missing_frames, refused_frame
from latticewatch.standing import Standing
from latticewatch.steps import Analysed, Outcome, Step


@dataclass(frozen=True)
class Applied:
    """A step that the tracker has taken and that is not committed yet."""

    step: Step
    results: list[FrameResult]
    timings_ms: dict[str, float]
    messages: tuple[Message, ...] = ()
    end: SessionEnd | None = None
    standing: Standing | None = None
    was_low: bool = False
    learnt: Mapping[str, Any] | None = None

    @property
    def has_result(self) -> bool:
        """Whether it is an analysed frame that could be used."""
        return isinstance(self.step, Analysed) and self.step.detections is not None

    def outcome(self, committed_s: float) -> Outcome:
        """Give what it came to, once it is committed."""
        model = self.results[-1].model if self.results else None
        return Outcome(self.step, self.messages, self.timings_ms, self.standing, model, committed_s)


def holes_of(step: Analysed | Refusal | Gap) -> list[FrameResult]:
    """Give the results of a step that has no detections, one a frame."""
    if isinstance(step, Gap):
        return list(missing_frames(step))
    return [refused_frame(step) if isinstance(step, Refusal) else refused_result(step)]
