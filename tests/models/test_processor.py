"""What is told of the host's processor."""

from __future__ import annotations

import pytest

from latticewatch_models.processor import cores, why_no_brain_floats


@pytest.mark.parametrize(
    ("flags", "has"),
    [("fpu sse2 avx512_bf16 rdtscp", True), ("fpu amx_bf16", True), ("fpu avx512f bf16x", False)],
)
def test_brain_floats_are_told_by_the_flags(tmp_path, flags, has):
    file = tmp_path / "cpuinfo"
    file.write_text(f"model name : any\nflags\t\t: {flags}\nbugs : amx_bf16\n", encoding="utf-8")
    reason = why_no_brain_floats(file)
    assert (reason == "") == has
    assert has or "amx_bf16 and avx512_bf16" in reason


def test_a_machine_that_does_not_tell_has_none(tmp_path):
    assert "cannot be told" in why_no_brain_floats(tmp_path / "nothing")


def test_there_is_a_core():
    assert cores() >= 1
