"""Upsampling as a convolution whose weights are repeated, and a sum that repeats rows.

Computes what it would have given, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from latticewatch_models.graphs import Convolution, Graph, attributes


@dataclass(frozen=True)
class _Upsampled:
    """A convolution whose every result is given `times` along rows and columns, and added.

    Attributes
    ----------
    convolution, shape
        It and its results' shape.
    times
        How often each is given.
    sum, onto
        The sum's node, and what is added to there. Of as many rows and columns, or a few less: then
        the last ones are cut off.
    """

    convolution: Convolution
    shape: tuple[int, ...]
    times: int
    sum: Any
    onto: str


def add_upsampled(graph: Graph) -> int:
    """Repeat a convolution's results along rows and columns by what comes before and after it.

    Along a row a pixel that is repeated is another set of channels, where these lie last: the
    weights are repeated, and nothing else is done. Rows are repeated by the sum that follows, or,
    where the last one is cut, gathered for it.
    """
    number = 0
    for node in graph.nodes("Resize"):
        found = _found(graph, node)
        if found is not None:
            graph.replace(found.sum.output[0], graph.first(_added(graph, found)))
            number += 1
    return number


def _added(graph: Graph, found: _Upsampled) -> str:
    """Add it up, with channels last."""
    times, (number, channels, rows, columns) = found.times, found.shape
    wide = replace(
        found.convolution,
        weights=np.concatenate([found.convolution.weights] * times),
        bias=np.concatenate([found.convolution.bias] * times),
    )
    shape = (number, times * channels, rows, columns)
    made = graph.last(graph.convolve(found.convolution.node.input[0], shape, wide))
    onto = graph.last(found.onto)
    _, *kept, _ = after = graph.known(onto)
    if kept[1] < times * columns:
        made = graph.reshape(made, (number, rows, times * columns, channels))
        made = graph.cut(made, 0, kept[1], axis=2)
    if kept[0] < times * rows:
        made = graph.reshape(made, (number, rows, kept[1], channels))
        which = graph.hold(np.arange(kept[0], dtype=np.int64) // times)
        made = graph.add("Gather", [made, which], after, axis=1)
        return graph.add("Add", [onto, made], after)
    row = kept[1] * channels
    made = graph.reshape(made, (number * rows, 1, row))
    onto = graph.reshape(onto, (number * rows, times, row))
    return graph.reshape(graph.add("Add", [onto, made], (number * rows, times, row)), after)


def _found(graph: Graph, node: Any) -> _Upsampled | None:
    maker = graph.maker(node.input[0], "Conv")
    convolution = graph.convolution(maker) if maker is not None else None
    before, whole = graph.shape(node.input[0]), graph.shape(node.output[0])
    times, last = _times(graph, node), _cut(graph, node.output[0])
    after = graph.shape(last)
    if convolution is None or before is None or after is None or times < 2:
        return None
    users = graph.users(last)
    others = [name for user in users for name in user.input if name != last]
    alone = len(users) == len(graph.users(node.input[0])) == len(others) == 1
    if not alone or graph.given(node.input[0]) or graph.given(last):
        return None
    number, channels, rows, columns = before
    as_it_is = whole == (number, channels, times * rows, times * columns)
    if not as_it_is or users[0].op_type != "Add" or graph.shape(others[0]) != after:
        return None
    return _Upsampled(convolution, before, times, users[0], others[0])


def _cut(graph: Graph, name: str) -> str:
    """Follow slices that cut off the last rows and columns of a tensor, and of nothing else."""
    users, before = graph.users(name), graph.shape(name)
    if len(users) != 1 or users[0].op_type != "Slice" or graph.given(name) or before is None:
        return name
    after, starts = graph.shape(users[0].output[0]), graph.value(users[0], 1)
    if after is None or starts is None or starts.any() or before[:2] != after[:2]:
        return name
    if not graph.forwards(users[0]):
        return name
    return _cut(graph, users[0].output[0])


def _times(graph: Graph, node: Any) -> int:
    """How often an upsampling gives each pixel along a row and a column; 0 for any other kind."""
    said, scales = attributes(node), graph.value(node, 2)
    if (
        said.get("mode", b"nearest") != b"nearest"
        or said.get("coordinate_transformation_mode") != b"asymmetric"
        or said.get("nearest_mode") != b"floor"
        or scales is None
        or scales.size != 4
    ):
        return 0
    times = int(scales[2])
    return times if (scales == (1, 1, times, times)).all() else 0
