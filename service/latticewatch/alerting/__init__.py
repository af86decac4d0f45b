"""Alerts: rules of the settings, held against every frame's numbers; see docs/alerts.md.

Pure: `rules` reads what a person wrote, `watch` remembers which of them hold, `numbers` takes
from the result of a step what they may ask for.
"""

from latticewatch.alerting.reading import Alarm, Reading, Seen, Value
from latticewatch.alerting.rules import AlertRule, RuleError, parse_rule
from latticewatch.alerting.watch import Watch

__all__ = ["Alarm", "AlertRule", "Reading", "RuleError", "Seen", "Value", "Watch", "parse_rule"]
