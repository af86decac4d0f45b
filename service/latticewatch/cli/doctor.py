"""Say what this machine computes with, why not with something faster, and what mends that.

The exit status is 1 where what is asked for cannot be used. For example::

  latticewatch doctor
  latticewatch doctor --device cuda:0
  latticewatch doctor --config /etc/latticewatch.toml --json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from latticewatch.config import load_settings
from latticewatch.doctor import as_text, examine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; each overrides the settings file."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings, TOML")
    parser.add_argument("--device", help="auto, cpu, cuda:N or cuda:0,cuda:1")
    parser.add_argument("--model", metavar="FILE", help="another segmenter (ONNX)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print what was found."""
    given = {key: getattr(options, key) for key in ("device", "model")}
    settings = load_settings(options.config, analysis=given)
    asked, tuning = settings.analysis, settings.segmenter.tuning
    found = examine(asked.device, asked.providers, asked.model, asked.backend, tuning=tuning)
    print(json.dumps(found.as_plain(), indent=2) if options.json else as_text(found))
    return 1 if found.trouble else 0
