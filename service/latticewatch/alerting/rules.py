"""A rule as a person writes it, read into what can be judged. No expression is ever evaluated.

::

    rule      = condition [ "for" N ( "frame" | "frames" ) ]
    condition = quantity ( ">" | ">=" | "<" | "<=" ) number
              | sign
              | "change in" series
    quantity  = name | "population of" species
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from latticewatch.alerting.quantities import (
    CHANGE,
    POPULATION,
    QUANTITIES,
    SIGNS,
    Names,
    Quantity,
    population,
)

Severity = Literal["info", "warning", "critical"]

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip

_TOKEN = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))"
    r"|(?P<word>[A-Za-z_][\w+/@]*)|(?P<sign>[<>]=?)|(?P<odd>\S)"
)


class RuleError(ValueError):
    """A rule that cannot be used; the message names the rule, the place and the mend."""


@dataclass(frozen=True)
class Comparison:
    """A quantity held against a threshold, in the quantity's unit."""

    quantity: Quantity
    operator: str
    threshold: float

    @property
    def above(self) -> bool:
        """Whether it is true of large values."""
        return self.operator.startswith(">")

    def holds(self, value: float, level: float) -> bool:
        """Compare with a level, the threshold or another."""
        return OPERATORS[self.operator](value, level)


@dataclass(frozen=True)
class Sign:
    """Something that is there or not."""

    name: str


@dataclass(frozen=True)
class Change:
    """A change point of a series, under the rule's name and the tracker's."""

    series: str
    place: str


@dataclass(frozen=True)
class AlertRule:
    """When to raise an alert.

    Attributes
    ----------
    name
        What the alert is called.
    when
        The rule as it was written, spaces made one.
    condition
        What is judged.
    frames
        Frames in a row for which it must hold.
    severity
        For whoever receives it.
    clear
        Level, in the quantity's unit, at which a raised alert ceases; None: the threshold.
    certain
        To be raised, the whole interval must lie beyond the threshold.
    """

    name: str
    when: str
    condition: Comparison | Sign | Change
    frames: int = 1
    severity: Severity = "warning"
    clear: float | None = None
    certain: bool = False


def parse_rule(
    when: str,
    names: Names,
    *,
    name: str = "",
    severity: Severity = "warning",
    clear: float | None = None,
    certain: bool = False,
) -> AlertRule:
    """Read a rule.

    Parameters
    ----------
    when
        The rule.
    names
        Species and states of the crystal.
    name, severity, clear, certain
        See `AlertRule`; without a name the rule itself is it.

    Raises
    ------
    RuleError
        It cannot be read, speaks of what is not known, or its options do not fit it.
    """
    reader = _Reader(when, names)
    condition = reader.condition()
    frames = reader.hold(condition)
    plain = " ".join(when.split())
    rule = AlertRule(name or plain, plain, condition, frames, severity, clear, certain)
    _check_options(rule)
    return rule


def _check_options(rule: AlertRule) -> None:
    condition, clear = rule.condition, rule.clear
    if not isinstance(condition, Comparison):
        for option, given in (("clear", clear is not None), ("certain", rule.certain)):
            if given:
                raise RuleError(
                    f"rule {rule.when!r}: {option} needs a comparison such as "
                    f"'hole_fraction > 0.05': leave {option} out"
                )
        return
    if clear is not None and (condition.holds(clear, condition.threshold) or math.isnan(clear)):
        side = "at most" if condition.above else "at least"
        raise RuleError(
            f"rule {rule.when!r}: clear = {clear:g} is beyond the threshold, so that the alert "
            f"would cease while the rule holds: give {side} {condition.threshold:g}"
        )
    if rule.certain and not condition.quantity.interval:
        having = ", ".join(known.name for known in QUANTITIES.values() if known.interval)
        raise RuleError(
            f"rule {rule.when!r}: {condition.quantity.name} has no interval to be certain by: "
            f"leave certain out (those with one: {having})"
        )


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int


class _Reader:
    """Takes the words of a rule one after the other."""

    def __init__(self, when: str, names: Names) -> None:
        self._when = " ".join(when.split())
        self._names = names
        self._tokens = [
            _Token(str(found.lastgroup), found.group(), found.start() + 1)
            for found in _TOKEN.finditer(self._when)
        ]
        self._at = 0

    def condition(self) -> Comparison | Sign | Change:
        """Read what is judged."""
        first = self._take("word", "give a quantity, a sign or a change", *self._beginnings())
        if first.text in SIGNS:
            return Sign(first.text)
        if first.text == CHANGE.split()[0]:
            self._take_word("in", f"write '{CHANGE} VS'")
            series = self._names.series()
            chosen = self._one_of(series, "no series that changes are looked for in")
            return Change(chosen, series[chosen])
        if first.text == POPULATION.split()[0]:
            self._take_word("of", f"write '{POPULATION} VS > 20'")
            counted = self._one_of(self._names.counted, "no species or state of this crystal")
            return self._comparison(population(counted))
        if first.text not in QUANTITIES:
            raise self._unknown(first, "no quantity", self._beginnings())
        return self._comparison(QUANTITIES[first.text])

    def hold(self, condition: Comparison | Sign | Change) -> int:
        """Read for how many frames, and that nothing follows."""
        if self._at == len(self._tokens):
            return 1
        mend = "end the rule there, or go on with 'for 3 frames'"
        token = self._take_word("for", f"{mend}; numbers are in the quantity's own unit")
        if isinstance(condition, Change):
            raise self._error(token, "a change is a moment and does not last", "leave it out")
        count = self._take("number", "give a number of frames, as in 'for 3 frames'")
        if not count.text.isdecimal() or not int(count.text):
            raise self._error(count, "no number of frames", "give a whole number from 1 on")
        unit = self._take("word", "write 'frames' after the number")
        if unit.text not in ("frame", "frames"):
            raise self._error(unit, "no unit that is known here", "write 'frames'")
        if self._at < len(self._tokens):
            raise self._error(self._tokens[self._at], "too much", "end the rule before it")
        return int(count.text)

    def _comparison(self, quantity: Quantity) -> Comparison:
        unit = f" {quantity.unit}" if quantity.unit else ""
        mend = f"hold {quantity.name} against a number, as in '{quantity.name} > 0.5'"
        sign = self._take("sign", mend)
        number = self._take("number", f"give a number in the unit of the quantity ({unit or '1'})")
        threshold = float(number.text)
        if not math.isfinite(threshold):
            raise self._error(number, "no finite number", "give a smaller one")
        if quantity.share and not 0 <= threshold <= 1:
            mend = "a share lies between 0 and 1: give 0.05 for 5 %"
            raise self._error(number, f"no value that {quantity.name} can have", mend)
        return Comparison(quantity, sign.text, threshold)

    def _beginnings(self) -> tuple[str, ...]:
        return (*QUANTITIES, f"{POPULATION} SPECIES", *SIGNS, f"{CHANGE} SERIES")

    def _take(self, kind: str, mend: str, *known: str) -> _Token:
        if self._at == len(self._tokens):
            raise RuleError(f"rule {self._when!r} ends too early: {_with(mend, known)}")
        token = self._tokens[self._at]
        if token.kind != kind:
            raise self._error(token, "not understood", _with(mend, known))
        self._at += 1
        return token

    def _take_word(self, wanted: str, mend: str) -> _Token:
        token = self._take("word", mend)
        if token.text != wanted:
            raise self._error(token, "not understood", mend)
        return token

    def _one_of(self, known: Iterable[str], what: str) -> str:
        token = self._take("word", "give one of those known", *known)
        if token.text not in known:
            raise self._unknown(token, what, known)
        return token.text

    def _unknown(self, token: _Token, what: str, known: Iterable[str]) -> RuleError:
        near = difflib.get_close_matches(token.text, list(known), 1)
        return self._error(token, what, _with(f"write {near[0]}" if near else "use one", known))

    def _error(self, token: _Token, what: str, mend: str) -> RuleError:
        place = f"{token.text!r} at character {token.place}"
        return RuleError(f"rule {self._when!r}: {place} is {what}: {mend}")


def _with(mend: str, known: Iterable[str]) -> str:
    listed = ", ".join(known)
    return f"{mend} (known: {listed})" if listed else mend
