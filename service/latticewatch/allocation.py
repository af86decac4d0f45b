"""Memory that one frame's arrays leave is kept for those of the next."""

from __future__ import annotations

import ctypes
import os

#: Parameters of glibc's ``mallopt``.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8

#: Free memory that each thread's arena keeps, and the size from which on an array is mapped by
#: itself and given back at once (glibc takes no more), bytes. The arrays of a 512 x 512 frame fit:
#: without, the kernel hands out and clears 1,500 to 2,000 pages anew for each frame.
KEPT_BYTES, MAPPED_BYTES = 64 << 20, 32 << 20

#: Arenas that the threads share; glibc makes up to eight for each core, and what one thread has
#: freed in its arena the others cannot use. After 100,000 messages of `bench/garbage.py` (16
#: streams, 22 threads, 2 cores) 208 MB are resident with 2, 213 with 4 and 224 with 16, and since
#: the first tenth of them it had grown by 1.3, 3.6 and 4.0 %. Processor time a frame did not differ
#: beyond the scatter (24.6 and 25.5 ms with 2, 24.2 with 4, 23.8 and 24.6 with 16; two workers).
ARENAS = 2

#: Where one of these is set, whoever runs the program has chosen himself.
CHOSEN = (
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_ARENA_MAX",
    "GLIBC_TUNABLES",
)


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
    wanted = (
        (_TRIM_THRESHOLD, KEPT_BYTES),
        (_MMAP_THRESHOLD, MAPPED_BYTES),
        (_ARENA_MAX, ARENAS),
    )
    return all(change(parameter, value) for parameter, value in wanted)
