"""The segmenter's own ONNX file run by torch, for machines where onnxruntime-gpu is not to be had.

Chosen by the settings, never in the place of another. The weights are those of the file, so that
the results are ONNX Runtime's to rounding (the tests hold one against the other).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from torch.utils.dlpack import from_dlpack

from latticewatch_kernels.arrays import array_module, first_line, on_device, to_host
from latticewatch_kernels.lattice import Array
from latticewatch_models.devices import Device
from latticewatch_models.providers import TORCH_CUDA, PassedOver, ProviderError
from latticewatch_models.sessions import BatchError, Fall, UnreadableModelError
from latticewatch_models.torch_operators import OPERATORS
from latticewatch_models.tuning import Precision

logger = logging.getLogger(__name__)


class TorchSession:
    """An ONNX segmenter on a torch device; threads may share it.

    Parameters
    ----------
    model
        Content of the ONNX file.
    device
        ``auto`` takes the first GPU that torch can use; ``cuda:N`` is used or is an error.
    told
        Called when the GPU fails while a frame runs; the frame is run again on the CPU.
    precision
        ``fp32``, ``fp16``, or ``auto``: fp16 on a GPU, fp32 on the CPU.

    Raises
    ------
    UnreadableModelError
        The file is no ONNX model, or uses an operator that is not known here.
    ProviderError
        The device cannot be used by torch, or brain floats are asked for.
    """

    passed_over: tuple[PassedOver, ...] = ()
    #: No operator of the table asks for the number of frames, whatever the file says of it.
    batches = True
    #: torch's runs are not recorded with what is around them.
    recordable = False

    def __init__(
        self,
        model: bytes,
        device: Device,
        told: Callable[[Fall], None] = lambda _: None,
        precision: Precision = "auto",
    ) -> None:
        if precision == "bf16":
            raise ProviderError(
                "precision bf16 is not for backend torch: use onnxruntime, or precision auto"
            )
        try:
            proto = onnx.load_from_string(model)
        except Exception as error:
            # protobuf's DecodeError is not public, and its message varies
            raise UnreadableModelError(first_line(error)) from error
        unknown = {node.op_type for node in proto.graph.node} - set(OPERATORS)
        if unknown:
            raise UnreadableModelError(f"operators {sorted(unknown)} are not known to this backend")
        self.falls: tuple[Fall, ...] = ()
        self.metadata = {entry.key: entry.value for entry in proto.metadata_props}
        self._told, self._lock = told, threading.Lock()
        self._steps = [_step(node) for node in proto.graph.node]
        self._source = proto.graph.input[0].name
        self._stored = {
            i.name: torch.from_numpy(np.array(onnx.numpy_helper.to_array(i)))
            for i in proto.graph.initializer
        }
        self._precision: Precision = precision
        self._place = _usable(device)
        self._weights = self._on(self._place)

    @property
    def providers(self) -> tuple[str, ...]:
        """What runs it, as providers of ONNX Runtime are named."""
        return (TORCH_CUDA if self._place.type == "cuda" else "torch-cpu",)

    @property
    def precision(self) -> str:
        """``fp16`` or ``fp32``: what the network is computed in now."""
        return "fp16" if self._format(self._place) == torch.float16 else "fp32"

    def _format(self, place: torch.device) -> torch.dtype:
        half = self._precision == "fp16" or (self._precision == "auto" and place.type == "cuda")
        return torch.float16 if half else torch.float32

    def run(self, image: Array, outputs: Mapping[str, tuple[int, ...]]) -> list[Array]:
        """Run once; as `sessions.FallingSession.run`."""
        while True:
            place = self._place
            try:
                return self._run(image, outputs, place)
            except RuntimeError as error:  # torch's own, out of memory included
                if len(image) > 1:
                    raise BatchError(first_line(error)) from error
                if place.type == "cpu":
                    raise
                self._fall(place, error)

    @torch.inference_mode()
    def _run(
        self, image: Array, outputs: Mapping[str, tuple[int, ...]], place: torch.device
    ) -> list[Array]:
        shared = on_device(image) and place.type == "cuda"
        source = from_dlpack(image) if shared else torch.from_numpy(to_host(image))
        given = source.to(place, self._format(place))
        values: dict[str, Any] = {**self._weights, "": None, self._source: given}
        for operator, inputs, output, attributes in self._steps:
            values[output] = operator(attributes, *(values[name] for name in inputs))
        results = [values[name].float().contiguous() for name in outputs]
        xp = array_module(image)
        if shared:
            torch.cuda.current_stream(place).synchronize()
            return [xp.from_dlpack(result) for result in results]
        return [xp.asarray(result.cpu().numpy()) for result in results]

    def _on(self, place: torch.device) -> dict[str, torch.Tensor]:
        """Weights on the device; shapes and indices stay on the host, where they are asked for."""
        return {
            name: value.to(place, self._format(place))
            if value.is_floating_point() and value.dim()
            else value
            for name, value in self._stored.items()
        }

    def _fall(self, failed: torch.device, error: Exception) -> None:
        with self._lock:
            if self._place is not failed:
                return
            before = self.providers[0]
            cpu = torch.device("cpu")
            self._weights, self._place = self._on(cpu), cpu
            fall = Fall.of(before, self.providers[0], error)
            self.falls += (fall,)
        logger.error(
            "%s failed (%s): frames go on with %s; restart the service to go back",
            fall.before, fall.reason, fall.after,
        )  # fmt: skip
        self._told(fall)


def _step(node: Any) -> tuple[Any, list[str], str, dict[str, Any]]:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Resize" and attributes.get("mode") != b"nearest":
        raise UnreadableModelError("Resize other than nearest is not known to this backend")
    return OPERATORS[node.op_type], list(node.input), node.output[0], attributes


def _usable(device: Device) -> torch.device:
    """Torch's device; ProviderError where one was asked for that torch cannot use."""
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.kind == "cpu" or (device.kind == "auto" and not there):
        return torch.device("cpu")
    if device.index >= there:
        build = (
            "a CPU build" if torch.version.cuda is None else f"built for CUDA {torch.version.cuda}"
        )
        raise ProviderError(
            f"device {device} cannot be used by torch {torch.__version__} ({build}, sees {there} "
            "GPUs): install torch for this machine's CUDA, or use --device auto"
        )
    return torch.device("cuda", device.index)
