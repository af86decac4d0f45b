"""What the host's processor can do."""

from __future__ import annotations

import os
from pathlib import Path

#: Where Linux tells of processors.
CPUINFO = Path("/proc/cpuinfo")

#: Flags of processors that multiply 16-bit brain floats: Intel's AMX, and AVX-512 of Intel and AMD.
BRAIN_FLOATS = ("amx_bf16", "avx512_bf16")


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def why_no_brain_floats(cpuinfo: Path = CPUINFO) -> str:
    """Reason why brain floats gain nothing here; empty where the processor has them."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"what the processor has cannot be told ({cpuinfo}: {error.strerror})"
    flags = {
        flag for line in text.splitlines() if line.startswith("flags") for flag in line.split()
    }
    if flags.isdisjoint(BRAIN_FLOATS):
        return f"this processor has none of {' and '.join(BRAIN_FLOATS)}"
    return ""
