"""Compiles the CUDA C sources in `cuda/` and launches their kernels, for arrays on a device.

The sources are compiled once for a device, without contraction of multiply and add, which NumPy
does not know (``-fmad=false``). Only `arrays`, `recording` and this module name CuPy.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from latticewatch_kernels.arrays import array_module, device_number
from latticewatch_kernels.lattice import Array
from latticewatch_kernels.library import library

#: Where the sources are.
SOURCES = Path(__file__).with_name("cuda")

#: Threads to a block: four warps, so that even small grids spread over the multiprocessors.
THREADS = 128

#: Threads of a block that finds something out together: as many as a block may have. Each source
#: says so of its kernels (``__launch_bounds__``).
TOGETHER = 1024

#: Things to a block that orders them (`lists.cuh`).
ORDERED = 32

_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


def code(source: str) -> str:
    """Text of a source with what it includes, which NVRTC would look for in vain; each once."""
    seen: set[str] = set()

    def text(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        content = (SOURCES / name).read_text("ascii")
        return _INCLUDE.sub(lambda found: text(found[1]), content)

    return text(f"{source}.cu")


@cache  # as many as there are sources and devices; recorded work needs them all
def _module(source: str, device: int) -> Any:
    """Compile a source for a device."""
    del device  # a module belongs to the device that was current when it was loaded
    return library("cupy").RawModule(code=code(source), options=("-fmad=false",))


@cache
def _kernel(source: str, name: str, device: int) -> Any:
    """Give a kernel of a source on a device; CuPy would make a new object at every call."""
    return _module(source, device).get_function(name)


def launch(source: str, name: str, number: int, like: Array, *arguments: Any) -> None:
    """Run a kernel with at least ``number`` threads; Python's integers go as 32 bits."""
    if number:
        _run(source, name, -(-number // THREADS), THREADS, like, arguments)


def launch_together(
    source: str, name: str, blocks: int, like: Array, *arguments: Any, threads: int = TOGETHER
) -> None:
    """Run a kernel whose threads work together in each of so many blocks.

    ``threads``, a power of two, are fewer where blocks are many and have little to do.
    """
    _run(source, name, blocks, threads, like, arguments)


def blocks_of(number: int, each: int = TOGETHER) -> int:
    """Give how many blocks have so many things, ``each`` to a block; at least one."""
    return max(1, -(-number // each))


def _run(
    source: str, name: str, blocks: int, threads: int, like: Array, arguments: tuple[Any, ...]
) -> None:
    plain = tuple(np.int32(a) if isinstance(a, int) else a for a in arguments)
    _kernel(source, name, device_number(like))((blocks,), (threads,), plain)


def single(image: Array) -> Array:
    """Give an array as the kernels read it: float32, rows one after the other."""
    xp = array_module(image)
    return xp.ascontiguousarray(image, dtype=xp.float32)
