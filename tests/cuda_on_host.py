"""The CUDA C kernels as C++ on the host: the same source, thread after thread.

A machine without a GPU shows so what the kernels compute. Blocks whose threads work together
(``__launch_bounds__``) have one thread here, for theirs may be any number, unless a `Crew` of
several is asked for: then they run at the same time, and so do the threads of all other kernels.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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
#define __launch_bounds__(threads)
#define __grid_constant__
#define __noinline__
using std::abs; using std::cos; using std::exp; using std::fabs; using std::floor;
using std::log; using std::max; using std::min; using std::rint;
using std::atan2; using std::hypot; using std::sin; using std::sqrt;
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
inline unsigned __float_as_uint(float value)
{
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
inline float __uint_as_float(unsigned bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
"""

#: One thread after the other; `cuda_crew.hpp` has the same for several at once.
ONE_BY_ONE = """
#define __shared__ static thread_local
#define WARP 1
template <class T> T __shfl_sync(unsigned, T own, int) { return own; }
template <class T> T __shfl_xor_sync(unsigned, T own, int) { return own; }
template <class T> T __shfl_up_sync(unsigned, T own, int) { return own; }
inline void __syncthreads() {}
inline int __syncthreads_count(int holds) { return holds != 0; }
struct Index { int x; };
static thread_local Index threadIdx, blockIdx, blockDim;
template <class T> T atomicAdd(T *place, T value)
{
    T old = *place;
    *place += value;
    return old;
}
template <class T> T atomicMax(T *place, T value)
{
    T old = *place;
    *place = max(old, value);
    return old;
}
template <class Kernel> int run_each(int blocks, int threads, Kernel kernel)
{
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++)
            kernel();
    return 0;
}
template <class Kernel> int run_together(int blocks, int, int, Kernel kernel)
{
    return run_each(blocks, 1, kernel);
}
template <class Kernel> int run_apart(int blocks, int threads, int, Kernel kernel)
{
    return run_each(blocks, threads, kernel);
}
"""

#: What several threads may have done wrong, by what `cuda_crew.hpp` gives.
FAULTS = {
    1: "a thread left while others wait at a barrier",
    2: "threads wait at different barriers",
    3: "a barrier in a kernel that does not say that its threads work together",
}


class Crew(NamedTuple):
    """Threads of the host that run a kernel; a power of two.

    ``watched`` has ThreadSanitizer look for races; its library has to be loaded before Python is
    (LD_PRELOAD).
    """

    threads: int = 1
    watched: bool = False


#: Who runs kernels, last. Child processes are told by their environment.
crews = [
    Crew(int(os.environ.get("CUDA_ON_HOST_THREADS", "1")), "CUDA_ON_HOST_WATCHED" in os.environ)
]

#: Kernels whose threads work together that several have run.
ran: set[str] = set()


@contextmanager
def crew_of(threads: int) -> Iterator[None]:
    """Run kernels with so many threads while inside."""
    crews.append(crews[-1]._replace(threads=threads))
    try:
        yield
    finally:
        crews.pop()


KERNEL = re.compile(
    r'extern "C" __global__ void (__launch_bounds__\(\w+\) )?(\w+)\((.*?)\)\s*\{', re.DOTALL
)

POINTED = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "char": np.int8,
    "fixed": np.uint64,
    "address": np.uint64,
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
        self.code, bare = code, re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL)
        self.signatures = {name: given for _, name, given in KERNEL.findall(bare)}
        self.kernels = {name: parameters(given) for name, given in self.signatures.items()}
        self.read_only = {
            name: ["const " in part for part in given.split(",")]
            for name, given in self.signatures.items()
        }
        self.together = {name for bounds, name, _ in KERNEL.findall(bare) if bounds}
        self.libraries: dict[Crew, ctypes.CDLL] = {}

    def library(self, crew: Crew) -> ctypes.CDLL:
        """Give the source as compiled for one thread or several, watched or not."""
        kind = Crew(2, crew.watched) if crew.threads > 1 else Crew()
        if kind not in self.libraries:
            self.libraries[kind] = self._compiled(kind)
        return self.libraries[kind]

    def _text(self, kind: Crew) -> str:
        """C++ that runs each kernel by a function that C can call."""
        several = Path(__file__).with_name("cuda_crew.hpp").read_text("ascii")
        parts = [PRELUDE, several if kind.threads > 1 else ONE_BY_ONE, self.code]
        for name, given in self.signatures.items():
            manner = "together" if name in self.together else "apart"
            call = f"{name}({', '.join(part[2] for part in self.kernels[name])})"
            parts.append(
                f'extern "C" int run_{name}(int blocks, int threads, int workers, {given})\n'
                f"{{ return run_{manner}(blocks, threads, workers, [=] {{ {call}; }}); }}\n"
            )
        return "".join(parts)

    def _compiled(self, kind: Crew) -> ctypes.CDLL:
        compiler = shutil.which("g++")
        if compiler is None:
            pytest.skip("g++ is not on the PATH, which compiles CUDA C for the host")
        # kept, for reports of races name a library, and lines of what lies beside it
        folder = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        source, library = folder / "kernels.cpp", folder / f"kernels_{next(iter(self.kernels))}.so"
        source.write_text(self._text(kind))
        options = ["-ffp-contract=off", "-Wall", "-Werror", "-shared", "-fPIC"]
        options += ["-Wno-unknown-pragmas"]  # CUDA's own, of loops
        options += ["-O1"] if kind.threads > 1 else ["-O2"]
        options += ["-fsanitize=thread", "-g"] if kind.watched else []
        subprocess.run([compiler, *options, "-o", library, source], check=True)
        return ctypes.CDLL(str(library))

    def run(self, name: str, blocks: int, threads: int, arguments: list[Any]) -> None:
        """Run a kernel; types and memory order of what is handed over are held against it."""
        expected = self.kernels[name]
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
        crew = crews[-1]
        if name in self.together and crew.threads > 1:
            ran.add(name)
        run = getattr(self.library(crew), f"run_{name}")
        fault = run(blocks, threads, crew.threads, *given)
        assert not fault, f"{name}: {FAULTS[fault]}"


#: Sources that were compiled, by their text without comments and spaces.
_known: dict[str, Source] = {}


def compiled(code: str) -> Source:
    """Give a source, compiled when its kernels are first run; the same where the text is."""
    key = "".join(re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL).split())
    if key not in _known:
        _known[key] = Source(code)
    return _known[key]
