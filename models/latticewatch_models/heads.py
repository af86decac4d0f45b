"""What a network ends with, in fewer steps: outputs that are channels, and what scales them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from latticewatch_models.graphs import Convolution, Graph

#: Channels of the last convolution are made up to a multiple of this, by zeros: rows of 3 or 6
#: 16-bit floats are read and written one by one.
CHANNELS_TOGETHER = 4

#: Channels at most of a convolution that is written plane by plane.
MOST_PLANES = 8

#: Operators, without attributes, that work value by value.
_BY_VALUES = frozenset(("Add", "Div", "Exp", "Mul", "Neg", "Relu", "Sigmoid", "Sub", "Tanh"))

#: Smallest normal 16-bit float: a bound below it would lose digits there.
LEAST_HALF = 2.0**-14

_LARGEST_HALF = 65504.0


def join_bounds(graph: Graph) -> int:
    """Bound what a logarithm is taken of instead of scaling it first and bounding it afterwards.

    Of Clip(Log(Clip(factor x))) a + b, for several bounds, a and b, is made Log(Clip(x)) a + b':
    each is a kernel that computes one number a frame, and costs its start alone.
    """
    return sum(_join_bounds(graph, node) for node in graph.nodes("Log"))


@dataclass(frozen=True)
class _Bounded:
    """What is made of a Clip: name, slope and level of straight lines."""

    least: float
    most: float
    lines: tuple[tuple[str, float, float], ...]


def _join_bounds(graph: Graph, log: Any) -> int:
    inner = graph.maker(log.input[0], "Clip")
    outer = [_bounded(graph, clip) for clip in graph.users(log.output[0])]
    known = [each for each in outer if each is not None]
    ends = _bounds(graph, inner) if inner is not None else None
    if inner is None or ends is None or not known or len(known) < len(outer):
        return 0
    source, factor = _unscaled(graph, inner.input[0])
    shape = graph.shape(source)
    if shape is None or factor <= 0.0 or ends[0] <= 0.0:
        return 0
    joined = [
        (max(ends[0], math.exp(each.least)) / factor, min(ends[1], _exp(each.most)) / factor)
        for each in known
    ]
    if any(not LEAST_HALF <= low < high <= _LARGEST_HALF for low, high in joined):
        return 0
    kind = next(v.dtype for v in (graph.value(inner, 1), graph.value(inner, 2)) if v is not None)

    def scalar(value: float) -> str:
        return graph.hold(np.asarray(value, kind))

    flat, flattened = shape, source
    axes = graph.hold(np.arange(2, max(2, len(shape)), dtype=np.int64))
    if len(shape) > 2 and set(shape[2:]) == {1}:
        # where there is but one channel and one place, nothing is left to be turned
        flat = shape[:2]
        flattened = graph.add("Squeeze", [source, axes], flat)
    for limits, each in zip(joined, known, strict=True):
        bounded = graph.add("Clip", [flattened, *map(scalar, limits)], flat)
        taken = graph.add("Log", [bounded], flat)
        for name, slope, level in each.lines:
            product = graph.add("Mul", [taken, scalar(slope)], flat)
            moved = scalar(level + slope * math.log(factor))
            line = graph.add("Add", [product, moved], flat)
            if flat != shape:
                line = graph.add("Unsqueeze", [line, axes], shape)
            graph.replace(name, line)
    return 1


def _bounded(graph: Graph, clip: Any) -> _Bounded | None:
    """Read a Clip that lines alone are made of; None for anything else."""
    ends = _bounds(graph, clip) if clip.op_type == "Clip" else None
    lines = [_line(graph, product) for product in graph.users(clip.output[0])]
    known = tuple(line for line in lines if line is not None)
    if ends is None or not known or len(known) < len(lines) or graph.given(clip.output[0]):
        return None
    return _Bounded(*ends, known)


def _line(graph: Graph, product: Any) -> tuple[str, float, float] | None:
    """Name, slope and level of a product by a constant, to which a constant is added."""
    sums = graph.users(product.output[0])
    alone = len(sums) == 1 and not graph.given(product.output[0])
    if product.op_type != "Mul" or not alone or sums[0].op_type != "Add":
        return None
    slope, level = graph.scalar(product), graph.scalar(sums[0])
    if slope is None or level is None:
        return None
    return str(sums[0].output[0]), slope[1], level[1]


def _bounds(graph: Graph, clip: Any) -> tuple[float, float] | None:
    """Read the bounds of a Clip; None where they are not known."""
    bounds = [-math.inf, math.inf]
    for which in (1, 2):
        if len(clip.input) > which and clip.input[which]:
            value = graph.value(clip, which)
            if value is None:
                return None
            bounds[which - 1] = float(value.reshape(()))
    return bounds[0], bounds[1]


def _unscaled(graph: Graph, name: str) -> tuple[str, float]:
    """Find what a tensor is a constant multiple of, and the factor."""
    product = graph.maker(name, "Mul")
    scaled = graph.scalar(product) if product is not None else None
    return scaled or (name, 1.0)


def _exp(value: float) -> float:
    return math.exp(value) if value < math.log(_LARGEST_HALF) else math.inf


@dataclass(frozen=True)
class _Part:
    """A tensor that is `factor` times the channels from `first` to before `last` of another."""

    name: str
    first: int
    last: int
    factor: float = 1.0


def part_outputs(graph: Graph) -> int:
    """Write a convolution's channels, where they go apart, each as a plane of its own.

    Two channels that lie last would be turned by a kernel whose tiles are 32 wide; one is a plane
    as it lies. Constant factors go into the weights, and channels that nobody reads are left out.
    """
    return sum(_part(graph, node) for node in graph.nodes("Conv"))


def _part(graph: Graph, node: Any) -> int:
    convolution, shape = graph.convolution(node), graph.shape(node.output[0])
    if convolution is None or shape is None or shape[1] > MOST_PLANES:
        return 0
    parts = _parts(graph, _Part(node.output[0], 0, shape[1]))
    factors = {channel: part.factor for part in parts for channel in range(part.first, part.last)}
    shared = any(factors[c] != part.factor for part in parts for c in range(part.first, part.last))
    if shared or len(parts) < 2:
        return 0
    number, _, rows, columns = shape
    chosen = sorted(factors)
    scale = np.asarray([factors[channel] for channel in chosen])
    picked = _picked(convolution, chosen, scale)
    made = graph.convolve(node.input[0], (number, len(picked.bias), rows, columns), picked)
    turned = graph.last(made)
    planes = {channel: _plane(graph, turned, which) for which, channel in enumerate(chosen)}
    for part in parts:
        names = [planes[channel] for channel in range(part.first, part.last)]
        flat, name = names[0], part.name
        if len(names) > 1:
            flat = graph.add("Concat", names, (number, len(names), rows * columns), axis=1)
        while (step := _step(graph, name, flat)) is not None:
            flat, name = step
        graph.replace(name, graph.reshape(flat, (number, len(names), rows, columns)))
    return 1


def _step(graph: Graph, name: str, flat: str) -> tuple[str, str] | None:
    """Take the step that follows on planes as they lie; gives its result there, and its name."""
    users, shape = graph.users(name), graph.shape(flat)
    if len(users) != 1 or graph.given(name) or users[0].op_type not in _BY_VALUES or shape is None:
        return None
    inputs = []
    for each in users[0].input:
        given = graph.shape(each)
        if each == name:
            inputs.append(flat)
        elif given in ((shape[0], 1, 1, 1), (1, 1, 1, 1)):
            inputs.append(graph.reshape(each, given[:3]))
        elif given in ((), (1,)):
            inputs.append(each)
        else:
            return None
    return graph.add(users[0].op_type, inputs, shape), users[0].output[0]


def _parts(graph: Graph, part: _Part) -> list[_Part]:
    """Find what is read of a tensor's channels in the end, through slices and constant factors."""
    users = graph.users(part.name)
    smaller = [_smaller(graph, part, user) for user in users]
    if graph.given(part.name) or not users or any(each is None for each in smaller):
        return [part]
    return [leaf for each in smaller if each is not None for leaf in _parts(graph, each)]


def _smaller(graph: Graph, part: _Part, user: Any) -> _Part | None:
    """Follow a slice of channels or a constant factor of a part; None for anything else."""
    if user.op_type == "Mul":
        scaled = graph.scalar(user)
        if scaled is None:
            return None
        return replace(part, name=user.output[0], factor=part.factor * scaled[1])
    given = [graph.value(user, which) for which in range(1, len(user.input))]
    if user.op_type != "Slice" or any(value is None or value.size != 1 for value in given):
        return None
    start, end, *rest = (int(value.reshape(())) for value in given if value is not None)
    if rest not in ([1], [1, 1]):  # the axis, and a step
        return None
    first, last, _ = slice(start, end).indices(part.last - part.first)
    if last <= first:
        return None
    return replace(part, name=user.output[0], first=part.first + first, last=part.first + last)


def _picked(convolution: Convolution, channels: Sequence[int], scale: np.ndarray) -> Convolution:
    """Give some channels of a convolution, scaled, and zeros up to `CHANNELS_TOGETHER`."""
    more = -len(channels) % CHANNELS_TOGETHER
    weights = convolution.weights[channels] * scale[:, None, None, None]
    bias = convolution.bias[channels] * scale
    kind = convolution.weights.dtype
    return replace(
        convolution,
        weights=np.pad(weights, ((0, more), (0, 0), (0, 0), (0, 0))).astype(kind),
        bias=np.pad(bias, (0, more)).astype(kind),
    )


def _plane(graph: Graph, turned: str, channel: int) -> str:
    """One channel of (n, h, w, c) as (n, 1, h w): what is flat no optimiser turns again."""
    number, rows, columns, _ = graph.known(turned)
    cut = graph.cut(turned, channel, channel + 1, axis=3)
    return graph.reshape(cut, (number, 1, rows * columns))
