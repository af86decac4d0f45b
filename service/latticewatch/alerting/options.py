"""The section ``[alerts]`` of the settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from latticewatch.alerting.quantities import Names
from latticewatch.alerting.rules import AlertRule, RuleError, Severity, parse_rule


class AlertOptions(BaseModel):
    """One rule; a text stands for a rule without options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: str = Field(description="the rule: 'defect_density > 0.4 for 3 frames'")
    name: str = Field(default="", description="what the alert is called; none: the rule itself")
    severity: Severity = Field(default="warning", description="info, warning or critical")
    clear: float | None = Field(
        default=None, description="level at which the alert ceases; none: the threshold"
    )
    certain: bool = Field(
        default=False, description="the quantity's whole interval must lie beyond the threshold"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: object) -> object:
        return {"when": given} if isinstance(given, str) else given


class AlertSettings(BaseModel):
    """Rules that every frame is held against; see docs/alerts.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[AlertOptions, ...] = Field(
        default=(AlertOptions(when="segmenter_disagreement"),),
        description="rules such as 'hole_fraction > 0.05', or with options "
        "{when = 'dose > 1e6', severity = 'critical'}",
    )

    def read(self, names: Names) -> tuple[AlertRule, ...]:
        """Read the rules; raises RuleError where one cannot be used."""
        rules = tuple(parse_rule(names=names, **vars(given)) for given in self.rules)
        listed = [rule.name for rule in rules]
        twice = sorted({name for name in listed if listed.count(name) > 1})
        if twice:
            raise RuleError(f"two rules are called {twice[0]!r}: give one of them another name")
        return rules
