"""Which rules hold, frame after frame: state in, frame in, state and alarms out.

Frames that brought no result say nothing of most quantities: a rule then stands as it stood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from latticewatch.alerting.evidence import evidence, told
from latticewatch.alerting.reading import Alarm, Reading, Seen, Value
from latticewatch.alerting.rules import AlertRule, Change, Comparison, Sign


@dataclass(frozen=True)
class RuleState:
    """Where one rule stands.

    Attributes
    ----------
    when, severity
        The rule's.
    streak, begun
        Frames in a row for which it has held, up to those that are asked for, and the first of
        them.
    since
        Frame with which the alert was raised; None while it is not.
    raised
        How often it was, in the session.
    """

    when: str
    severity: str = "warning"
    streak: int = 0
    begun: int | None = None
    since: int | None = None
    raised: int = 0


@dataclass(frozen=True)
class Watch:
    """All rules of a stream after some frame; constant in size.

    Attributes
    ----------
    rules
        By the settings.
    states
        By the rule's name; those of rules that are no longer watched stay until the next frame.
    dose, dose_of_frame
        e/Å² so far and in the last frame that told it; None before the first.
    missing, in_a_row
        Frames without a result, all and since the last that had one.
    """

    rules: tuple[AlertRule, ...] = ()
    states: Mapping[str, RuleState] = field(default_factory=dict)
    dose: float | None = None
    dose_of_frame: float | None = None
    missing: int = 0
    in_a_row: int = 0

    @classmethod
    def resumed(cls, rules: tuple[AlertRule, ...], state: Mapping[str, Any] | None) -> Watch:
        """Go on where `state` stood, with the rules of now; None begins."""
        if state is None:
            return cls(rules)
        states = {name: RuleState(**row) for name, row in state["states"].items()}
        return cls(rules, states, **{k: v for k, v in state.items() if k != "states"})

    def state(self) -> dict[str, Any]:
        """Plain values for `resumed`."""
        plain = {name: asdict(state) for name, state in self.states.items()}
        counts = ("dose", "dose_of_frame", "missing", "in_a_row")
        return {"states": plain, **{name: getattr(self, name) for name in counts}}

    @property
    def learnt(self) -> bool:
        """Whether a rule asks for the tracker's statistics with every frame."""
        conditions = (rule.condition for rule in self.rules)
        return any(isinstance(one, Comparison) and one.quantity.learnt for one in conditions)

    @property
    def active(self) -> dict[str, RuleState]:
        """Alerts that are raised, by rule."""
        return {n: one for n, one in self.states.items() if one.since is not None}

    def summary(self) -> dict[str, Any]:
        """Plain values for the statistics: alerts that are raised, and how often each was."""
        active = [
            {"rule": name, "severity": one.severity, "since": one.since}
            for name, one in self.active.items()
        ]
        return {"active": active, "raised": {n: one.raised for n, one in self.states.items()}}

    def unknown(self) -> list[str]:
        """Rules on the dose, where no frame so far has told one."""
        if self.dose is not None:
            return []
        return [
            rule.name
            for rule in self.rules
            if isinstance(rule.condition, Comparison) and rule.condition.quantity.name == "dose"
        ]

    def after(self, reading: Reading) -> tuple[Watch, tuple[Alarm, ...]]:
        """Take in the next frame; gives the state after it and what it raised or ended."""
        counted = self._counted(reading)
        reading = replace(reading, values={**reading.values, **counted._totals()})
        states, alarms = {}, counted._dropped(reading)
        for rule in self.rules:
            before = self.states.get(rule.name)
            if before is None or before.when != rule.when:
                before = RuleState(rule.when)
            before = replace(before, severity=rule.severity)
            after = _judged(rule, before, reading)
            states[rule.name] = after
            if (after.since is None) != (before.since is None):
                alarms.append(_alarm(rule, before, after, reading))
        now = replace(counted, states=states)
        listed = list(now.active)
        return now, tuple(
            replace(alarm, values={**alarm.values, "active_rules": listed}) for alarm in alarms
        )

    def _counted(self, reading: Reading) -> Watch:
        """Add the frame to the totals; a frame that does not tell its dose had that of the last."""
        of_frame = self.dose_of_frame if reading.dose is None else reading.dose
        return replace(
            self,
            dose=self.dose if of_frame is None else (self.dose or 0.0) + of_frame,
            dose_of_frame=of_frame,
            missing=self.missing + reading.lost,
            in_a_row=self.in_a_row + 1 if reading.lost else 0,
        )

    def _totals(self) -> dict[str, Value]:
        totals = {"missing_frames": Value(self.missing), "missing_in_a_row": Value(self.in_a_row)}
        return totals if self.dose is None else {**totals, "dose": Value(self.dose)}

    def _dropped(self, reading: Reading) -> list[Alarm]:
        """End alerts whose rule is gone from the settings, or is another under its name."""
        kept = {(rule.name, rule.when) for rule in self.rules}
        text = "no longer watched: the settings have another rule or none"
        return [
            Alarm(reading.frame, reading.time_s, name, one.severity, False, text, {})
            for name, one in self.active.items()
            if (name, one.when) not in kept
        ]


def _judged(rule: AlertRule, before: RuleState, reading: Reading) -> RuleState:
    holds = _holds(rule, reading, before.since is not None)
    if holds is None:
        return before
    if not holds:
        return replace(before, streak=0, begun=None, since=None)
    begun = reading.frame if before.begun is None else before.begun
    now = replace(before, streak=min(before.streak + 1, rule.frames), begun=begun)
    if now.since is None and now.streak >= rule.frames:
        return replace(now, since=reading.frame, raised=now.raised + 1)
    return now


def _holds(rule: AlertRule, reading: Reading, active: bool) -> bool | None:
    """Whether the rule's condition is true of the frame; None where that is not known."""
    condition = rule.condition
    if isinstance(condition, Sign):
        return reading.signs.get(condition.name)
    if isinstance(condition, Change):
        return None if reading.changes is None else bool(changed(condition, reading))
    value = reading.values.get(condition.quantity.name)
    if value is None:
        return None
    if active:  # estimate against the level at which it ceases: what is raised does not flicker
        level = condition.threshold if rule.clear is None else rule.clear
        return condition.holds(value.value, level)
    if not rule.certain:
        return condition.holds(value.value, condition.threshold)
    bound = value.low if condition.above else value.high
    return None if bound is None else condition.holds(bound, condition.threshold)


def changed(condition: Change, reading: Reading) -> list[Seen]:
    """Change points of the series in the frame."""
    return [seen for seen in reading.changes or () if seen.series == condition.place]


def _alarm(rule: AlertRule, before: RuleState, after: RuleState, reading: Reading) -> Alarm:
    raised = after.since is not None
    condition = rule.condition
    values = evidence(rule, reading.values, after.begun if raised else before.begun)
    if isinstance(condition, Change):
        seen = changed(condition, reading)
        values |= {"before": seen[0].before, "after": seen[0].after} if seen else {}
    text = told(rule, reading.values, values, raised)
    return Alarm(
        reading.frame, reading.time_s, rule.name, rule.severity, raised, text, values
    )  # fmt: skip
