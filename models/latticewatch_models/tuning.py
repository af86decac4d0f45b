"""How sessions are opened, as data: options of ONNX Runtime's providers by their names.

The names and their meanings are those of ONNX Runtime's pages on its CUDA, TensorRT and OpenVINO
providers.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from latticewatch_models.processor import cores

#: Providers that need a GPU, by their short names. Each lives in a shared library of its own in
#: ONNX Runtime's package.
GPU_PROVIDERS = ("tensorrt", "cuda")

#: Provider that computes in brain floats: 8 bits of mantissa and the range of 32-bit floats.
BRAINY = "openvino"

Precision = Literal["auto", "fp32", "fp16", "bf16"]

#: Hexadecimal digits of a model's hash in the name of a folder of engines.
_DIGITS = 16


@dataclass(frozen=True)
class Tuning:
    """What a user may choose of it.

    Attributes
    ----------
    precision
        ``fp32`` or ``fp16`` everywhere; ``auto``: fp16 on a GPU, fp32 on the host; ``bf16``: brain
        floats on the host, by `BRAINY` alone.
    cuda_graph
        Record the work of a single frame of each shape once and start it at one stroke after that.
        No other thread may use the GPU while it is recorded: for one worker alone.
    most
        Frames of a batch at most.
    engines
        Folder where TensorRT's engines are kept; none takes `default_engines`.
    """

    precision: Precision = "auto"
    cuda_graph: bool = False
    most: int = 1
    engines: Path | None = None

    def halves(self, provider: str) -> bool:
        """Whether a provider, by its short name, is to compute in 16-bit floats."""
        return self.precision == "fp16" or (self.precision == "auto" and provider in GPU_PROVIDERS)

    def brains(self, provider: str) -> bool:
        """Whether a provider, by its short name, is to compute in brain floats."""
        return self.precision == "bf16" and provider == BRAINY


@dataclass(frozen=True)
class Site:
    """Where a session is opened.

    Attributes
    ----------
    index, name
        Number of the CUDA device, and what its driver calls it.
    stream
        Address of the CUDA stream that it shares with CuPy; 0 for one of its own.
    """

    index: int = 0
    name: str = ""
    stream: int = 0


@dataclass(frozen=True)
class Form:
    """What a session is opened for.

    Attributes
    ----------
    sides
        Rows and columns of its frames, if it is for one shape alone.
    half
        Whether in 16-bit floats.
    engines
        Folder of the engines of this form; empty to keep none.
    number
        Frames of a run, if it is for one number alone; only with ``sides``.
    lasting
        Whether its runs are to be recorded: what is tried out once pays then.
    outputs
        Names of the outputs that are wanted of it; empty for all.
    """

    sides: tuple[int, int] | None = None
    half: bool = False
    engines: str = field(default="", compare=False)
    number: int | None = None
    lasting: bool = False
    outputs: tuple[str, ...] = ()

    @property
    def fixed(self) -> dict[str, int]:
        """Sizes of the model's free dimensions that are fixed, by their names."""
        sizes = dict(zip(("height", "width"), self.sides or (), strict=self.sides is not None))
        return sizes if self.number is None else {"batch": self.number, **sizes}


#: How ONNX Runtime chooses among cuDNN's convolutions: by rules of thumb where a session may see
#: few frames of a shape, by trying them out where its work is recorded. The first run took 0.1 s by
#: rules, and 0.2 to 0.9 s; a recorded run of the shipped network in 16-bit floats on a frame of
#: 512 x 512 then took 0.37 and 0.28 ms, and on 16 of them 1.99 and 1.64 ms (H200, onnxruntime-gpu
#: 1.31.1).
CONVOLUTIONS, LASTING_CONVOLUTIONS = "HEURISTIC", "EXHAUSTIVE"


def provider_options(
    name: str, site: Site, form: Form, tuning: Tuning, threads: int = 0
) -> dict[str, str]:
    """Options of a provider, by its short name; none for the CPU's.

    TF32, which CUDA takes for float32 products by default, has the 10 bits of mantissa of a 16-bit
    float: where 32 bits are asked for it is off. OpenVINO, too, is told the format: by default it
    takes what the processor is fastest in. Its threads are all runs' together, and its streams are
    how many of these go on at a time: as many as there are cores for, of ``threads`` each (0: all).
    """
    if name == BRAINY:
        every = cores()
        hint = {"INFERENCE_PRECISION_HINT": "bf16" if tuning.brains(name) else "f32"}
        return {
            "device_type": "CPU",
            "num_of_threads": str(every),
            "num_streams": str(max(1, every // threads) if threads else 1),
            "load_config": json.dumps({"CPU": hint}),
        }
    if name not in GPU_PROVIDERS:
        return {}
    options = {"device_id": str(site.index)}
    if site.stream:  # 0, the default stream, would be read as no stream at all
        options["user_compute_stream"] = str(site.stream)
    graph = tuning.cuda_graph and form.sides is not None
    if name == "cuda":
        return options | _of_cuda(form, graph)
    return options | _of_tensorrt(form, graph, tuning)


def _of_cuda(form: Form, graph: bool) -> dict[str, str]:
    options = {
        "use_tf32": _flag(form.half),
        "cudnn_conv_algo_search": LASTING_CONVOLUTIONS if form.lasting else CONVOLUTIONS,
        # cuDNN's convolutions take channels last, and others are turned there and back around each:
        # 0.40 ms became 0.37 for a frame, and 2.89 became 2.35 for 16 (as above, by rules)
        "prefer_nhwc": "1",
    }
    if form.lasting:
        # a bias is added on the way: 2.07 ms became 1.64; by rules the first run takes 2.5 s so
        options["fuse_conv_bias"] = "1"
    if graph:
        options["enable_cuda_graph"] = "1"
    return options


def _of_tensorrt(form: Form, graph: bool, tuning: Tuning) -> dict[str, str]:
    options = {"trt_fp16_enable": _flag(form.half)}
    if graph:
        options["trt_cuda_graph_enable"] = "1"
    if form.engines:
        options |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": form.engines,
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": form.engines,
        }
    if form.sides is not None:
        rows, columns = form.sides
        for bound, number in (("min", 1), ("opt", tuning.most), ("max", tuning.most)):
            options[f"trt_profile_{bound}_shapes"] = f"frame:{number}x1x{rows}x{columns}"
    return options


def _flag(on: bool) -> str:
    return "1" if on else "0"


def engine_folder(
    root: Path, model: bytes, site: Site, form: Form, tuning: Tuning, version: str
) -> Path:
    """Folder of the engines of one model, shape, precision and device.

    ONNX Runtime names an engine by the graph and the device's architecture and asks for old ones to
    be removed when anything else changes; here another folder is taken.

    Parameters
    ----------
    root
        Folder of all engines.
    model
        Content of the file.
    site, form, tuning
        What it is built for. The device counts by its name, not by its number.
    version
        Of ONNX Runtime and TensorRT.
    """
    rows, columns = form.sides or (0, 0)
    shape, precision = f"{tuning.most}x{rows}x{columns}", "fp16" if form.half else "fp32"
    digest = hashlib.sha256(model).hexdigest()[:_DIGITS]
    return root / digest / "-".join((shape, precision, _plain(site.name), _plain(version)))


def _plain(text: str) -> str:
    """Give a text as part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-") or "unknown"


def default_engines() -> Path:
    """Folder of engines where none is named: the service's cache, or the user's."""
    given = os.environ.get("CACHE_DIRECTORY")  # by systemd
    if given:
        return Path(given) / "engines"
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path.home() / ".cache") / "latticewatch" / "engines"
