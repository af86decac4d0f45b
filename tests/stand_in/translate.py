"""NVRTC's part: make a library for the host of a CUDA C source.

    python translate.py BASE

Reads ``BASE.cu`` and ``BASE.options``, writes ``BASE.cpp`` and ``BASE.so``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

KERNEL = re.compile(r'extern "C" __global__ void (__launch_bounds__\(\w+\) )?(\w+)\s*\(')
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
#: Shared memory of a size that is only known at the launch, as CuPy's reductions have it.
SIZED_LATER = re.compile(r"extern __shared__ (?:__align__\(\w+\) )?([\w ]+?) (\w+)\[\];")


def prelude(own: bool) -> str:
    """What CUDA gives a kernel without an include: to ours what `cuda_on_host` gives them."""
    if not own:
        return '#include "cupy_kernels.hpp"\n#include "block.hpp"\n'
    text = (HERE.parent / "cuda_on_host.py").read_text("utf-8")
    found = re.search(r'PRELUDE = """(.*?)"""', text, re.DOTALL)
    assert found is not None
    return f'{found[1]}\n#define __shared__ static\n#include "block.hpp"\n'


def translated(source: str) -> str:
    """C++ of a source, with a table of its kernels."""
    own = "cupy/" not in source
    kernels = KERNEL.findall(COMMENT.sub("", source))
    parts = [
        prelude(own),
        SIZED_LATER.sub(r"\1 *\2 = (\1 *)stand_in::shared_memory;", source),
        "\n",
    ]
    rows = []
    for bounds, name in kernels:
        together = bool(bounds) if own else "__syncthreads" in source
        called = f"stand_in::Called<decltype(&{name})>"
        parts.append(
            f"static void run_{name}(const stand_in::Shape &shape, void **values)\n"
            f"{{ {called}::run({str(together).lower()}, &{name}, shape, values); }}\n"
        )
        rows.append(
            f'{{"{name}", {called}::number, {called}::sizes, run_{name}, &stand_in::steps}},\n'
        )
    table = "".join(rows) + "{nullptr, 0, nullptr, nullptr, nullptr}"
    parts.append(f'extern "C" const stand_in::Kernel kernels[] = {{\n{table}}};\n')
    return "".join(parts)


def main(base: str) -> int:
    code, fresh, library = (Path(f"{base}.{end}") for end in ("cpp", f"{os.getpid()}", "so"))
    code.write_text(translated(Path(f"{base}.cu").read_text("utf-8")), "utf-8")
    options = Path(f"{base}.options").read_text("utf-8").splitlines()
    counting = ["-fsanitize-coverage=trace-pc"] if os.environ.get("STAND_IN_STEPS") else []
    command = [
        "g++", "-std=c++17", "-O2", "-ffp-contract=off", "-fno-strict-aliasing", "-fpermissive",
        "-w", "-shared", "-fPIC", f"-I{HERE}", *counting,
        *(one for one in options if one.startswith("-I")),
        "-o", str(fresh), str(code),
    ]  # fmt: skip
    failed = subprocess.run(command, check=False).returncode
    if not failed:
        fresh.replace(library)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
