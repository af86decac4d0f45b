"""The CUDA C kernels as C++ on the host: the same source, thread after thread.

A machine without a GPU shows so what the kernels compute. It does not show that threads do not get
into each other's way, which the tests marked ``gpu`` do. Blocks whose threads work together
(``__launch_bounds__``) have one thread here, for theirs may be any number.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

#: What CUDA gives a kernel without an include.
PRELUDE = """
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#define __global__
#define __device__
#define __shared__ static thread_local
#define __launch_bounds__(threads)
using std::abs; using std::cos; using std::exp; using std::fabs; using std::floor;
using std::log; using std::max; using std::min; using std::rint;
using std::atan2; using std::hypot; using std::sin; using std::sqrt;
inline void __syncthreads() {}
inline int __syncthreads_count(int holds) { return holds != 0; }
inline long long __double_as_longlong(double value)
{
    long long bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
inline double __longlong_as_double(long long bits)
{
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
struct Index { int x; };
static thread_local Index threadIdx, blockIdx, blockDim;
template <class T> static T atomicAdd(T *place, T value)
{
    T old = *place;
    *place += value;
    return old;
}
template <class T> static T atomicMax(T *place, T value)
{
    T old = *place;
    *place = max(old, value);
    return old;
}
"""

KERNEL = re.compile(
    r'extern "C" __global__ void (__launch_bounds__\(\w+\) )?(\w+)\((.*?)\)\s*\{', re.DOTALL
)

POINTED = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "char": np.int8,
    "fixed": np.uint64,
}
PLAIN = {
    "float": (np.float32, ctypes.c_float),
    "double": (np.float64, ctypes.c_double),
    "int": (np.int32, ctypes.c_int),
}


def parameters(signature: str) -> list[tuple[str, bool, str]]:
    """Type, whether it is a pointer, and name of each parameter."""
    found = []
    for part in signature.split(","):
        match = re.fullmatch(r"\s*(?:const )?(\w+) (\*?)(\w+)\s*", part)
        assert match is not None, part
        found.append((match[1], bool(match[2]), match[3]))
    return found


class Source:
    """Kernels of one source, compiled for the host."""

    def __init__(self, code: str) -> None:
        compiler = shutil.which("g++")
        if compiler is None:
            pytest.skip("g++ is not on the PATH, which compiles CUDA C for the host")
        bare = re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL)
        found = KERNEL.findall(bare)
        self.kernels = {name: parameters(given) for _, name, given in found}
        self.together = {name for bounds, name, _ in found if bounds}
        loops = [
            f'extern "C" void run_{name}(int blocks, int threads, {given}) {{\n'
            "  blockDim.x = threads;\n"
            "  for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)\n"
            "    for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++)\n"
            f"      {name}({', '.join(part[2] for part in self.kernels[name])});\n}}\n"
            for _, name, given in found
        ]
        with tempfile.TemporaryDirectory() as folder:
            source, library = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
            source.write_text(PRELUDE + code + "".join(loops))
            options = ["-O2", "-ffp-contract=off", "-Wall", "-Werror", "-shared", "-fPIC"]
            subprocess.run([compiler, *options, "-o", library, source], check=True)
            self.library = ctypes.CDLL(str(library))

    def run(self, name: str, blocks: int, threads: int, arguments: list[Any]) -> None:
        """Run a kernel; types and memory order of what is handed over are held against it."""
        expected = self.kernels[name]
        if name in self.together:
            threads = 1
        assert len(arguments) == len(expected), f"{name} takes {len(expected)} arguments"
        given: list[Any] = []
        for (kind, pointer, label), value in zip(expected, arguments, strict=True):
            if pointer:
                assert value.dtype == POINTED[kind], f"{name}: {label} is {value.dtype}"
                assert value.flags.c_contiguous, f"{name}: {label} is not contiguous"
                given.append(ctypes.c_void_p(value.ctypes.data))
            else:
                assert type(value) is PLAIN[kind][0], f"{name}: {label} is {type(value)}"
                given.append(PLAIN[kind][1](value))
        getattr(self.library, f"run_{name}")(blocks, threads, *given)


@lru_cache(maxsize=16)
def compiled(code: str) -> Source:
    return Source(code)
