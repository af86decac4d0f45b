"""Build the stand-in for a GPU: CuPy itself on a CUDA runtime that is played on the host.

    python tests/stand_in/build.py DIR
    DIR/run python -m pytest tests/gpu -m gpu

Run it with the interpreter that is to have CuPy. DIR gets CuPy's wheel, with the one module that is
linked to CUDA's runtime built anew against ours, and the libraries that CuPy looks for.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

#: The wheel, and what its modules were translated with.
CUPY, CYTHON = "14.2.0", "3.2.4"

HERE = Path(__file__).resolve().parent
#: Where CUDA's headers come from.
HEADERS = ("nvidia-cuda-runtime==13.*", "nvidia-cuda-crt==13.*")
PROFILER = """#include <cuda_runtime_api.h>
extern "C" cudaError_t cudaProfilerStart(), cudaProfilerStop();
"""
#: Sources of the one library, and names that it goes by.
PARTS = ("streams", "graphs", "memory", "device", "driver", "nvrtc")
NAMES = ("libcudart.so.13", "libcuda.so.1", "libnvrtc.so.13")
FFT = "libcufft.so.12"

TRANSLATE = """
from Cython.Build import cythonize
from setuptools import Extension

path = "cupy_backends/cuda/api/runtime.pyx"
cythonize(
    [Extension("cupy_backends.cuda.api.runtime", [path], language="c++")],
    compiler_directives={
        "binding": False, "c_api_binop_methods": True, "warn.deprecated.IF": False
    },
    compile_time_env={"CUPY_USE_CUDA_PYTHON": False, "CUPY_CUFFT_STATIC": False,
                      "CUPY_CUDA_VERSION": 13000, "CUPY_HIP_VERSION": 0},
    language_level=3,
)
"""

RUN = """#!/bin/sh
# Run a command with CuPy on the stand-in.
export STAND_IN={folder}
export STAND_IN_SOURCES={sources} STAND_IN_PYTHON={python}
export CUDA_PATH={folder}/site/nvidia/cu13
export LD_LIBRARY_PATH={folder}/lib PYTHONPATH={folder}/site${{PYTHONPATH:+:$PYTHONPATH}}
# without CUB, which is compiled for GPUs
export CUPY_CACHE_DIR={folder}/kernels CUPY_ACCELERATORS=
exec "$@"
"""


def call(*command: object, cwd: Path | None = None) -> str:
    parts = [str(part) for part in command]
    return subprocess.run(parts, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def install(folder: Path, *packages: str) -> None:
    call(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade",
         "--target", folder, *packages)  # fmt: skip


def translated(work: Path) -> Path:
    """Folder of CuPy's sources, with the module of the runtime as C++."""
    tools = work / "tools"
    install(tools, f"Cython=={CYTHON}", "setuptools")
    # only an archive whose setup can be run is handed out: without CUDA that is CuPy's own stub
    call("env", "CUPY_INSTALL_USE_STUB=1", f"PYTHONPATH={tools}", sys.executable, "-m", "pip",
         "download", "-q", "--no-deps", "--no-build-isolation", "--no-binary", "cupy",
         "--dest", work, f"cupy=={CUPY}")  # fmt: skip
    call("tar", "xzf", f"cupy-{CUPY}.tar.gz", cwd=work)
    sources = work / f"cupy-{CUPY}"
    call("env", f"PYTHONPATH={tools}", sys.executable, "-c", TRANSLATE, cwd=sources)
    return sources


def undefined(binary: Path, beginning: str) -> set[str]:
    """Names that a binary wants of others."""
    lines = call("nm", "-u", *(["-D"] if ".so" in binary.name else []), binary).splitlines()
    names = {line.split()[-1].partition("@")[0] for line in lines}
    return {name for name in names if name.startswith(beginning)}


def refusing(path: Path, names: set[str], error: int) -> Path:
    """C++ of functions that only give an error."""
    bodies = (f"int {name}() {{ return {error}; }}\n" for name in sorted(names))
    path.write_text(f'extern "C" {{\n{"".join(bodies)}}}\n', "utf-8")
    return path


def defined(folder: Path) -> set[str]:
    """Names of the functions in our own sources."""
    texts = "".join(path.read_text("ascii") for path in folder.glob("*.cpp"))
    return set(re.findall(r"^\w[\w *]*?\b(cu\w+)\(", texts, re.MULTILINE))


def build(folder: Path) -> None:
    site, lib, work = (folder / name for name in ("site", "lib", "work"))
    for path in (site, lib, work, folder / "kernels"):
        path.mkdir(parents=True, exist_ok=True)
    install(site, f"cupy-cuda13x=={CUPY}", "cuda-pathfinder", *HEADERS)
    cuda = site / "nvidia" / "cu13"
    call("rm", "-rf", cuda / "lib")  # else CuPy would find it before ours
    (work / "cuda_profiler_api.h").write_text(PROFILER, "utf-8")
    compiler = ["g++", "-std=c++17", "-O2", "-fPIC", "-I", HERE, "-I", cuda / "include"]
    library = [*compiler, "-shared", f"-Wl,-rpath,{lib}", "-L", lib]

    sources, module = translated(work), work / "runtime.o"
    call(*compiler, "-c", "-o", module, "-I", sysconfig.get_paths()["include"], "-I", sources,
         "-I", work, '-DCYTHON_EXTERN_C=extern "C"',
         sources / "cupy_backends/cuda/api/runtime.cpp")  # fmt: skip
    rest = refusing(work / "rest.cpp", undefined(module, "cuda") - defined(HERE), 801)
    call(*library, "-o", lib / "libstandin.so", *(HERE / f"{name}.cpp" for name in PARTS), rest)
    end = f"cupy_backends/cuda/api/runtime{sysconfig.get_config_var('EXT_SUFFIX')}"
    call(*library, "-o", site / end, module, "-lstandin")

    (transforms,) = (site / "cupy" / "cuda").glob("cufft.*.so")
    rest = refusing(work / "rest_of_fft.cpp", undefined(transforms, "cufft") - defined(HERE), 14)
    (work / "fft.map").write_text(f"{FFT} {{ global: *; }};\n", "utf-8")
    call(*library, "-O3", "-o", lib / FFT, HERE / "fft.cpp", rest, "-lstandin",
         f"-Wl,-soname,{FFT}", f"-Wl,--version-script={work / 'fft.map'}")  # fmt: skip

    for name in NAMES:
        (lib / name).unlink(missing_ok=True)
        (lib / name).symlink_to("libstandin.so")
    shutil.copy(HERE / "provider.py", site / "sitecustomize.py")
    run = folder / "run"
    run.write_text(RUN.format(folder=folder, sources=HERE, python=sys.executable), "utf-8")
    run.chmod(0o755)
    print(f"{run} COMMAND")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    build(parser.parse_args(arguments).folder.resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
