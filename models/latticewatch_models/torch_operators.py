"""The ONNX operators that an exported segmenter is made of, in torch.

Each takes its inputs (None for one left out) and its attributes, as the ONNX operator
specification has them at operator set 18. Shapes and indices are integer tensors on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional

Tensor = torch.Tensor
Attributes = Mapping[str, Any]
Operator = Callable[..., Tensor]


class UnknownOperatorError(ValueError):
    """A model uses an operator, or a form of one, that is not in this table."""


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    if a.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise UnknownOperatorError("Conv with auto_pad: export the model with explicit pads")
    padded = functional.pad(x, (left, right, top, bottom)) if (top, left) != (bottom, right) else x
    own = 0 if padded is not x else (top, left)
    strides, dilations = a.get("strides", [1, 1]), a.get("dilations", [1, 1])
    return functional.conv2d(padded, weight, bias, strides, own, dilations, a.get("group", 1))


def _resize(_: Attributes, x: Tensor, _roi: None, scales: Tensor) -> Tensor:
    factors = [float(s) for s in scales]
    if factors[:2] != [1.0, 1.0] or any(f != int(f) for f in factors[2:]):
        raise UnknownOperatorError(f"Resize by {factors}: only whole factors of rows and columns")
    for axis, factor in enumerate(factors[2:], 2):
        x = x.repeat_interleave(int(factor), dim=axis)
    return x


def _slice(
    _: Attributes, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, steps: Tensor
) -> Tensor:
    for start, end, axis, step in zip(
        *(t.tolist() for t in (starts, ends, axes, steps)), strict=True
    ):
        part = [slice(None)] * x.dim()
        part[axis] = slice(start, end, step)
        x = x[tuple(part)]
    return x


def _divided(_: Attributes, a: Tensor, b: Tensor) -> Tensor:
    rounding = None if a.is_floating_point() else "trunc"
    return torch.div(a, b, rounding_mode=rounding)


def _mean(a: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    return x.mean(dim=axes.tolist(), keepdim=bool(a.get("keepdims", 1)))


def _shape(a: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(x.shape[a.get("start", 0) : a.get("end")], dtype=torch.int64)


def _clip(
    _: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> Tensor:
    return torch.clamp(x, low, high)


OPERATORS: dict[str, Operator] = {
    "Abs": lambda _, x: x.abs(),
    "Add": lambda _, a, b: a + b,
    "Clip": _clip,
    "Conv": _conv,
    "Div": _divided,
    "Log": lambda _, x: x.log(),
    "Mul": lambda _, a, b: a * b,
    "ReduceMean": _mean,
    "Relu": lambda _, x: x.relu(),
    "Reshape": lambda _, x, shape: x.reshape(shape.tolist()),
    "Resize": _resize,
    "Shape": _shape,
    "Sigmoid": lambda _, x: x.sigmoid(),
    "Slice": _slice,
    "Squeeze": lambda _, x: x.squeeze(),
}
