"""Compiles the CUDA C sources in `cuda/` and launches their kernels, for arrays on a device.

The sources are compiled once for a device, without contraction of multiply and add, which NumPy
does not know (``-fmad=false``). Only `arrays`, `fourier`, `recording` and this module name CuPy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from latticewatch_kernels.abreast import in_step
from latticewatch_kernels.arrays import array_module, device_number, on_device, pointer
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

#: Bytes of what is cleared and copied.
WORD = 4

#: Values of an image that one thread does where it does neighbours (`neighbours.cuh`).
NEIGHBOURS = 4

#: Bytes of a kernel's parameters at most, on every device, and frames whose own they can be.
PARAMETER_BYTES, ABREAST = 4096, 16

_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)
_KERNEL = re.compile(
    r'extern "C" __global__ void (__launch_bounds__\(\w+\) )?(\w+)\((.*?)\)\s*\{', re.DOTALL
)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


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


def code_abreast(source: str) -> str:
    """Text of a source whose kernels are of several frames: a grid's second side counts these.

    Kernels are named ``..._abreast`` and have one parameter: the frames' own, side by side.
    """
    kernels = list[str]()

    def body(found: re.Match[str]) -> str:
        bounds, name, given = found[1] or "", found[2], found[3]
        parts = [part.strip() for part in given.split(",")]
        names = [re.findall(r"\w+", part)[-1] for part in parts]
        kernels.append(
            f"struct {name}_own {{ {' '.join(f'{part};' for part in parts)} }};\n"
            f"struct {name}_all {{ {name}_own of[{abreast_most(len(parts))}]; }};\n"
            f'extern "C" __global__ void {bounds}{name}_abreast(\n'
            f"    const __grid_constant__ {name}_all all)\n"
            f"{{\n    const {name}_own &own = all.of[blockIdx.y];\n"
            f"    {name}_own_work({', '.join(f'own.{one}' for one in names)});\n}}\n"
        )
        return f"__device__ static inline void {name}_own_work({given})\n{{"

    text = _KERNEL.sub(body, _COMMENT.sub("", code(source)))
    return text + "\n" + "\n".join(kernels)


def abreast_most(parameters: int) -> int:
    """Frames at most whose parameters, of 8 bytes and less, a kernel can have."""
    return min(ABREAST, PARAMETER_BYTES // (8 * parameters))


@cache  # as many as there are sources and devices; recorded work needs them all
def _module(source: str, device: int, several: bool) -> Any:
    """Compile a source for a device, for a frame or for several."""
    del device  # a module belongs to the device that was current when it was loaded
    text = code_abreast(source) if several else code(source)
    return library("cupy").RawModule(code=text, options=("-fmad=false",))


@cache
def _kernel(source: str, name: str, device: int, several: bool = False) -> Any:
    """Give a kernel of a source on a device; CuPy would make a new object at every call."""
    called = f"{name}_abreast" if several else name
    return _module(source, device, several).get_function(called)


def launch(source: str, name: str, number: int, like: Array, *arguments: Any) -> None:
    """Run a kernel with at least ``number`` threads; Python's integers go as 32 bits."""
    if number:
        _run(source, name, -(-number // THREADS), THREADS, like, arguments)


def launch_neighbours(source: str, name: str, number: int, like: Array, *arguments: Any) -> None:
    """Run a kernel whose threads do some of ``number`` values each, side by side."""
    launch(source, name, -(-number // NEIGHBOURS), like, *arguments)


def launch_together(
    source: str, name: str, blocks: int, like: Array, *arguments: Any, threads: int = TOGETHER
) -> None:
    """Run a kernel whose threads work together in each of so many blocks.

    ``threads``, a power of two, are fewer where blocks are many and have little to do.
    """
    _run(source, name, blocks, threads, like, arguments)


def copies(to: Sequence[Array], source: Sequence[Array]) -> None:
    """Copy contiguous arrays of a device, of one size in words, by as few launches as can be."""
    number = source[0].nbytes // WORD
    blocks, index = blocks_of(number, NEIGHBOURS * THREADS), device_number(to[0])
    given = [
        (one.view(np.int32), np.int32(number), place.view(np.int32))
        for place, one in zip(to, source, strict=True)
    ]
    _run_all("words", "copied", blocks, THREADS, index, given)


def copy(to: Array, source: Array) -> None:
    """Copy an array as `copies` does, with those of other frames in step."""
    kind = "copy", to.nbytes, device_number(to)
    in_step(kind, _copy_all, (to, source))


def _copy_all(given: list[tuple[Array, Array]]) -> list[None]:
    copies([to for to, _ in given], [source for _, source in given])
    return [None] * len(given)


def zeros(like: Array, shape: tuple[int, ...], kind: type) -> Array:
    """Give an array of zeros on the side of ``like``; of a type of 4 or 8 bytes.

    On a device it is cleared by a kernel, which a graph has for several frames at once.
    """
    array = array_module(like).empty(shape, kind)
    words = array.nbytes // WORD
    launch_neighbours("words", "cleared", words, array, words, array.view(np.int32))
    return array


def blocks_of(number: int, each: int = TOGETHER) -> int:
    """Give how many blocks have so many things, ``each`` to a block; at least one."""
    return max(1, -(-number // each))


def _run(
    source: str, name: str, blocks: int, threads: int, like: Array, arguments: tuple[Any, ...]
) -> None:
    plain = tuple(np.int32(a) if isinstance(a, int) else a for a in arguments)
    kind = source, name, blocks, threads, device_number(like)
    in_step(kind, partial(_run_all, *kind), plain)


def _run_all(
    source: str, name: str, blocks: int, threads: int, device: int, given: list[tuple[Any, ...]]
) -> list[None]:
    """Run a kernel with each of some arguments: several at a time, as many as it can have."""
    if len(given) == 1:
        _kernel(source, name, device)((blocks,), (threads,), given[0])
        return [None]
    most = abreast_most(len(given[0]))
    for first in range(0, len(given), most):
        part = given[first : first + most]
        own = _side_by_side(part, most)
        _kernel(source, name, device, several=True)((blocks, len(part)), (threads,), (own,))
    return [None] * len(given)


def _side_by_side(given: Sequence[tuple[Any, ...]], most: int) -> np.ndarray:
    """Lay arguments out as C does: a structure of as many structures as a kernel can have."""
    kinds = [np.dtype(np.uint64 if on_device(one) else one.dtype) for one in given[0]]
    own = np.dtype([(f"f{k}", kind) for k, kind in enumerate(kinds)], align=True)
    every = np.zeros(most, own)
    for place, arguments in enumerate(given):
        every[place] = tuple(pointer(one) if on_device(one) else one for one in arguments)
    return every.view(np.dtype((np.void, every.nbytes)))


def single(image: Array) -> Array:
    """Give an array as the kernels read it: float32, rows one after the other."""
    xp = array_module(image)
    return xp.ascontiguousarray(image, dtype=xp.float32)
