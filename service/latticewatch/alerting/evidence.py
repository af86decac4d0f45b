"""The numbers that decided on an alert, as plain values and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latticewatch.alerting.quantities import SIGNS
from latticewatch.alerting.reading import Value
from latticewatch.alerting.rules import AlertRule, Change, Comparison

#: What a comparison says, in words.
SIDES = {">": "above", ">=": "at least", "<": "below", "<=": "at most"}


def evidence(rule: AlertRule, values: Mapping[str, Value], begun: int | None) -> dict[str, Any]:
    """Give the values of an alert's message.

    Parameters
    ----------
    rule
        Which has been raised or has ceased.
    values
        Quantities of the frame.
    begun
        First frame of the run for which it held.
    """
    condition = rule.condition
    common = {"when": rule.when, "frames": rule.frames, "begun": begun}
    if isinstance(condition, Change):
        return {**common, "series": condition.place}
    if isinstance(condition, Comparison):
        quantity = condition.quantity
        found = values.get(quantity.name)
        return {
            **common,
            "quantity": quantity.name,
            "unit": quantity.unit,
            "threshold": condition.threshold,
            "clear": condition.threshold if rule.clear is None else rule.clear,
            **_known(found),
        }
    found = values.get("agreement") if condition.name == "segmenter_disagreement" else None
    return {**common, "sign": condition.name, **_known(found)}


def told(
    rule: AlertRule, values: Mapping[str, Value], evident: Mapping[str, Any], raised: bool
) -> str:
    """Say in one line what has come true or has ceased."""
    condition = rule.condition
    if isinstance(condition, Change):
        if not raised:
            return f"no further change in {condition.series}"
        levels = [evident[name] for name in ("before", "after") if evident.get(name)]
        return f"{condition.series} has changed" + (f": {' -> '.join(levels)}" if levels else "")
    if not isinstance(condition, Comparison):
        number = _number(values.get("agreement")) if "value" in evident else ""
        with_it = f" (agreement {number})" if number else ""
        return f"{SIGNS[condition.name] if raised else f'{condition.name} is over'}{with_it}"
    quantity = condition.quantity
    unit = f" {quantity.unit}" if quantity.unit else ""
    side = SIDES[condition.operator]
    text = f"{quantity.name} is {_number(values.get(quantity.name))}{unit}, "
    if not raised:
        return f"{text}no longer {side} {evident['clear']:g}{unit}"
    last = f" for {rule.frames} frames" if rule.frames > 1 else ""
    return f"{text}{side} {condition.threshold:g}{unit}{last}"


def _known(found: Value | None) -> dict[str, float]:
    return {} if found is None else {k: v for k, v in vars(found).items() if v is not None}


def _number(found: Value | None) -> str:
    if found is None:
        return "not known"
    if found.low is None or found.high is None:
        return f"{found.value:.4g}"
    return f"{found.value:.3g} ({found.low:.3g} to {found.high:.3g})"
