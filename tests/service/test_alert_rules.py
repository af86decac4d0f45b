"""Rules as people write them: read as meant, or refused with the place and the mend."""

from __future__ import annotations

import contextlib
import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticewatch.alerting import RuleError, parse_rule
from latticewatch.alerting.quantities import QUANTITIES, SERIES, SIGNS, Names
from latticewatch.alerting.rules import OPERATORS, AlertRule, Change, Comparison, Sign
from latticewatch.config import ConfigError, Settings, default_toml, load_settings
from latticewatch_models.crystal import CRYSTALS, crystal_named

NAMES = Names.of(crystal_named("WS2"))

POPULATIONS = [f"population of {name}" for name in NAMES.counted]

holds = st.integers(1, 10**6)
numbers = st.floats(0, 1e9, allow_nan=False)


def read(text, **options) -> AlertRule:
    return parse_rule(text, NAMES, **options)


@pytest.mark.parametrize(
    ("text", "quantity", "operator", "threshold", "frames"),
    [
        ("defect_density > 0.4 for 3 frames", "defect_density", ">", 0.4, 3),
        ("hole_fraction>0.05", "hole_fraction", ">", 0.05, 1),
        ("dose >= 1e6", "dose", ">=", 1e6, 1),
        ("population of VW > 20", "population of VW", ">", 20, 1),
        ("population of MoW+VS/0 > 3 for 1 frame", "population of MoW+VS/0", ">", 3, 1),
        ("  diffusion <  -1.5E-3 ", "diffusion", "<", -1.5e-3, 1),
        ("disordered_fraction <= .5", "disordered_fraction", "<=", 0.5, 1),
        ("missing_in_a_row > 3", "missing_in_a_row", ">", 3, 1),
    ],
)
def test_comparisons_are_read(text, quantity, operator, threshold, frames):
    rule = read(text)
    condition = rule.condition
    assert isinstance(condition, Comparison)
    assert (condition.quantity.name, condition.operator) == (quantity, operator)
    assert (condition.threshold, rule.frames) == (threshold, frames)
    assert rule.name == rule.when == " ".join(text.split())


def test_signs_and_changes_are_read():
    assert read("segmenter_disagreement for 2 frames").condition == Sign("segmenter_disagreement")
    assert read("change in VS").condition == Change("VS", "populations.VS")
    assert read("change in hole_fraction").condition == Change("hole_fraction", "fractions.hole")
    assert read("change in MoW+VS/1").condition == Change("MoW+VS/1", "states.MoW+VS/1")


@given(
    st.sampled_from([*QUANTITIES, *POPULATIONS]), st.sampled_from(sorted(OPERATORS)), numbers, holds
)
def test_what_is_written_is_read_back(name, operator, threshold, frames):
    share = name in QUANTITIES and QUANTITIES[name].share
    threshold = threshold / 1e9 if share else threshold
    rule = read(f"{name} {operator} {threshold!r} for {frames} frames")
    condition = rule.condition
    assert (condition.quantity.name, condition.operator) == (name, operator)
    assert (condition.threshold, rule.frames) == (threshold, frames)


@pytest.mark.parametrize(
    ("text", "place", "mend"),
    [
        ("", "ends too early", "hole_fraction"),
        ("hole_fracton > 0.05", "'hole_fracton' at character 1", "write hole_fraction"),
        ("hole_fraction", "ends too early", "'hole_fraction > 0.5'"),
        ("hole_fraction > ", "ends too early", "give a number"),
        ("hole_fraction = 0.05", "'=' at character 15", "hold hole_fraction against a number"),
        ("hole_fraction > much", "'much' at character 17", "give a number"),
        ("hole_fraction > 5", "'5' at character 17", "0.05 for 5 %"),
        ("hole_fraction > 0.05 %", "'%' at character 22", "own unit"),
        ("hole_fraction > 0.05 for 3", "ends too early", "write 'frames'"),
        ("hole_fraction > 0.05 for 3 s", "'s' at character 28", "write 'frames'"),
        ("hole_fraction > 0.05 for 0 frames", "'0' at character 26", "from 1 on"),
        ("hole_fraction > 0.05 for 1.5 frames", "'1.5' at character 26", "whole number"),
        ("hole_fraction > 0.05 for 3 frames now", "'now' at character 35", "end the rule"),
        ("dose > 1e999", "'1e999' at character 8", "smaller"),
        ("population of XX > 3", "'XX' at character 15", "MoW+VS/0"),
        ("population VS > 3", "'VS' at character 12", "population of VS"),
        ("change in VS for 3 frames", "'for' at character 14", "leave it out"),
        ("change in dose", "'dose' at character 11", "lattice_constant"),
        ("__import__('os') > 1", "'__import__' at character 1", "known"),
    ],
)
def test_what_cannot_be_read_is_refused_with_place_and_mend(text, place, mend):
    with pytest.raises(RuleError, match=re.escape(place)) as refused:
        read(text)
    message = str(refused.value)
    assert mend in message
    assert repr(" ".join(text.split())) in message
    assert "\n" not in message


words = st.sampled_from(
    [*QUANTITIES, *SIGNS, "population", "of", "change", "in", "VS", "for", "frames", ">", "<=", "3",
     "0.5", "1e", "for 3 frames", "(", "nan", "-inf"]
)  # fmt: skip


@given(
    st.one_of(
        st.text(string.printable, max_size=60), st.lists(words, max_size=8).map(" ".join), st.text()
    )
)
def test_anything_is_a_rule_or_refused_and_a_rule_reads_as_itself(text):
    rule = None
    with contextlib.suppress(RuleError):
        rule = read(text)
    if rule is not None:
        assert read(rule.when) == rule


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("hole_fraction > 0.05", {"clear": 0.06}, "at most 0.05"),
        ("agreement < 0.8", {"clear": 0.7}, "at least 0.8"),
        ("hole_fraction > 0.05", {"clear": float("nan")}, "clear"),
        ("hole_fraction > 0.05", {"certain": True}, "no interval"),
        ("change in VS", {"clear": 0.1}, "leave clear out"),
        ("segmenter_disagreement", {"certain": True}, "leave certain out"),
    ],
)
def test_options_that_do_not_fit_are_refused(text, options, words):
    with pytest.raises(RuleError, match=re.escape(words)):
        read(text, **options)


@pytest.mark.parametrize("name", CRYSTALS)
def test_every_crystal_has_its_own_names(name):
    names = Names.of(crystal_named(name))
    for counted in names.counted:
        assert parse_rule(f"population of {counted} > 1", names).frames == 1
    for series in names.series():
        assert parse_rule(f"change in {series}", names).frames == 1


def test_settings_hold_rules_with_and_without_options(tmp_path):
    file = tmp_path / "lw.toml"
    file.write_text(
        "[alerts]\nrules = ['hole_fraction > 0.05', "
        "{when = 'diffusion > 0.01', name = 'too fast', severity = 'critical', certain = true}]\n"
    )
    first, second = load_settings(file).alert_rules()
    assert (first.name, first.severity, first.certain) == ("hole_fraction > 0.05", "warning", False)
    assert (second.name, second.severity, second.certain) == ("too fast", "critical", True)
    (given_,) = load_settings(file, alerts={"rules": ["dose > 1"]}).alert_rules()
    assert given_.name == "dose > 1"
    assert [rule.name for rule in Settings().alert_rules()] == ["segmenter_disagreement"]
    assert 'rules = ["segmenter_disagreement"]' in default_toml()


def test_the_page_tells_every_quantity_sign_and_series_and_its_settings_are_read(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
    for name in (*QUANTITIES, *SIGNS, *SERIES):
        assert f"`{name}`" in page, name
    for quantity in QUANTITIES.values():
        unit = {"/nm²": "nm⁻²"}.get(quantity.unit, quantity.unit)
        assert re.search(rf"`{quantity.name}`.* \\|.*{unit}.*\\|", page), quantity.name
    (file := tmp_path / "lw.toml").write_text(re.findall(r"```toml\n(.*?)```", page, re.S)[0])
    assert len(load_settings(file).alert_rules()) == 7


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("['hole > 1']", "'hole' at character 1"),
        ("['population of VSe > 3']", "no species or state of this crystal"),
        ("['dose > 1', 'dose > 1']", "two rules are called 'dose > 1'"),
        ("[{when = 'dose > 1', severity = 'fatal'}]", "severity"),
        ("[{rule = 'dose > 1'}]", "alerts.rules.0"),
        ("[3]", "alerts.rules.0"),
    ],
)
def test_settings_with_a_bad_rule_are_refused_at_the_start(tmp_path, rules, words):
    file = tmp_path / "lw.toml"
    file.write_text(f"[alerts]\nrules = {rules}\n")
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_settings(file)
