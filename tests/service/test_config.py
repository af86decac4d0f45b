from __future__ import annotations

import re
import sys

import pytest

from latticewatch.config import ConfigError, Settings, default_toml, load_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_the_printed_defaults_are_the_defaults():
    assert Settings.model_validate(tomllib.loads(default_toml())) == Settings()


def test_every_option_is_documented():
    options = re.findall(r"^(?:# )?(\w+) =", default_toml(), flags=re.MULTILINE)
    lines = default_toml().splitlines()
    for option in options:
        place = next(k for k, line in enumerate(lines) if re.match(rf"(# )?{option} =", line))
        assert lines[place - 1].startswith("# "), option


def test_overrides_win_over_the_file(tmp_path):
    file = tmp_path / "lw.toml"
    file.write_text('[analysis]\ncrystal = "MoS2"\nworkers = 3\n')
    settings = load_settings(file, analysis={"workers": 1, "threads": None})
    assert (settings.analysis.crystal, settings.analysis.workers) == ("MoS2", 1)
    assert settings.analysis.threads == Settings().analysis.threads


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[analysis]\ncrystal = "unobtainium"\n', "analysis.crystal"),
        ("[analysis]\nworkers = 0\n", "analysis.workers"),
        ("[analysis]\nwrokers = 2\n", "analysis.wrokers"),
        ('[endpoints]\nframes = "7701"\n', "endpoints.frames"),
        ("[calibration]\nlimit = 1.5\n", "calibration.limit"),
        ("[calibration]\nevery = 0\nself_train = true\n", "set calibration.every to 1"),
        ("[segmenter]\nmax_batch = 3\n", "never reached by 2 workers"),
        ("[segmenter]\ncuda_graph = true\n", "set analysis.workers to 1"),
        ('[segmenter]\nprecision = "fp8"\n', "segmenter.precision"),
        ("[analysis\n", "not TOML"),
    ],
)
def test_a_bad_setting_is_named(tmp_path, text, named):
    file = tmp_path / "lw.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(named)):
        load_settings(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_settings(tmp_path / "nowhere.toml")
