"""Memory that one frame's arrays leave is kept for those of the next."""

from __future__ import annotations

import ctypes
import os

#: Parameters of glibc's ``mallopt``.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

#: Free memory that each thread's arena keeps, and the size from which on an array is mapped by
#: itself and given back at once (glibc takes no more), bytes. The arrays of a 512 x 512 frame fit:
#: without, the kernel hands out and clears 1,500 to 2,000 pages anew for each frame.
KEPT_BYTES, MAPPED_BYTES = 64 << 20, 32 << 20

#: Where one of these is set, whoever runs the program has chosen himself.
CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed; whether it will.

    It holds for the whole process. Nothing is done without glibc, or where the environment says
    otherwise.
    """
    if any(name in os.environ for name in CHOSEN):
        return False
    try:
        change = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(change(_TRIM_THRESHOLD, KEPT_BYTES)) and bool(change(_MMAP_THRESHOLD, MAPPED_BYTES))
