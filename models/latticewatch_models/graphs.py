"""An ONNX model as a graph that can be searched and changed; every change is made on a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

#: Operators on shapes, worked out beforehand where a model's sides are known.
_OF_SHAPES = frozenset(
    ("Add", "Cast", "Concat", "Div", "Gather", "Identity", "Mul", "Reshape", "Squeeze", "Sub",
     "Unsqueeze")
)  # fmt: skip


@dataclass(frozen=True)
class Convolution:
    """A convolution in two dimensions: its node, weights (outputs, inputs, rows, columns) and bias.

    `strides` are of rows and columns, `pads` before the rows and columns and after them.
    """

    node: Any
    weights: np.ndarray
    bias: np.ndarray
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]


class Graph:
    """A copy of a model, with its tensors' shapes.

    Parameters
    ----------
    model
        ``onnx.ModelProto``.
    """

    def __init__(self, model: Any) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.proto = self.model.graph
        self._named = 0
        self._shapes = _shapes(self.model)
        self._held = {tensor.name: tensor for tensor in self.proto.initializer}

    def nodes(self, kind: str) -> list[Any]:
        """All nodes of an operator."""
        return [node for node in self.proto.node if node.op_type == kind and not node.domain]

    def maker(self, name: str, kind: str) -> Any | None:
        """Node of this operator that makes a tensor; None if another does, or none."""
        return next((node for node in self.nodes(kind) if name in node.output), None)

    def users(self, name: str) -> list[Any]:
        """Nodes that read a tensor."""
        return [node for node in self.proto.node if name in node.input]

    def given(self, name: str) -> bool:
        """Whether a tensor is one of the model's outputs."""
        return any(output.name == name for output in self.proto.output)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a tensor where all of it is known."""
        return self._shapes.get(name)

    def known(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor that was added here, and so is known."""
        return self._shapes[name]

    def value(self, node: Any, which: int) -> np.ndarray | None:
        """Value of a node's input where it is a constant."""
        name = node.input[which] if which < len(node.input) else ""
        held = self._held.get(name)
        return None if held is None else numpy_helper.to_array(held)

    def scalar(self, node: Any) -> tuple[str, float] | None:
        """Take a node of two inputs, one a single number: the other one's name, and the number."""
        for which in (0, 1):
            value, other = self.value(node, which), str(node.input[1 - which])
            as_large = self.shape(other) == self.shape(node.output[0])
            if value is not None and value.size == 1 and as_large:
                return other, float(value.reshape(()))
        return None

    def convolution(self, node: Any) -> Convolution | None:
        """Read a convolution whose weights are known: of all channels, not dilated, pads given."""
        weights = self.value(node, 1)
        if weights is None or weights.ndim != 4:
            return None
        bias = np.zeros(len(weights), weights.dtype)
        if len(node.input) > 2:
            known = self.value(node, 2)
            if known is None:
                return None
            bias = known
        said = attributes(node)
        if (
            said.get("group", 1) != 1
            or set(said.get("dilations", [1])) != {1}
            or said.get("auto_pad", b"NOTSET") != b"NOTSET"
        ):
            return None
        rows, columns = said.get("strides", [1, 1])
        above, left, below, right = said.get("pads", [0, 0, 0, 0])
        return Convolution(node, weights, bias, (rows, columns), (above, left, below, right))

    def add(self, kind: str, inputs: Sequence[str], shape: tuple[int, ...], **said: Any) -> str:
        """Add a node of one output, of this shape; gives the output's name."""
        name = self._name(kind)
        self.proto.node.append(helper.make_node(kind, inputs, [name], name=name, **said))
        self._shapes[name] = shape
        return name

    def hold(self, value: np.ndarray) -> str:
        """Add a constant."""
        name = self._name("constant")
        tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
        self.proto.initializer.append(tensor)
        self._held[name] = tensor
        return name

    def convolve(self, source: str, shape: tuple[int, ...], like: Convolution) -> str:
        """Add a convolution of a tensor, whose result has this shape."""
        inputs = [source, self.hold(like.weights), self.hold(like.bias)]
        return self.add(
            "Conv", inputs, shape, kernel_shape=list(like.weights.shape[2:]),
            strides=list(like.strides), pads=list(like.pads), dilations=[1, 1], group=1,
        )  # fmt: skip

    def forwards(self, cut: Any) -> bool:
        """Whether a Slice takes one after the other."""
        steps = self.value(cut, 4)
        return len(cut.input) < 5 or (steps is not None and bool((steps == 1).all()))

    def cut(self, source: str, begin: int, end: int, axis: int) -> str:
        """Take some of a tensor along an axis."""
        shape = list(self.known(source))
        shape[axis] = end - begin
        limits = [self.hold(np.asarray([limit], np.int64)) for limit in (begin, end, axis, 1)]
        return self.add("Slice", [source, *limits], tuple(shape))

    def reshape(self, source: str, shape: Sequence[int]) -> str:
        """Look at a tensor's values in another shape."""
        wanted = self.hold(np.asarray(shape, np.int64))
        return self.add("Reshape", [source, wanted], tuple(shape))

    def last(self, source: str) -> str:
        """Bring the channels of (n, c, h, w) to the end.

        A transposition that follows a convolution is none where these have their channels last.
        """
        number, channels, *sides = self._shapes[source]
        shape = (number, *sides, channels)
        if channels == 1:  # ONNX Runtime would copy it
            return self.reshape(source, shape)
        return self.add("Transpose", [source], shape, perm=[0, 2, 3, 1])

    def first(self, source: str) -> str:
        """Bring the channels of (n, h, w, c) to the front."""
        number, *sides, channels = self._shapes[source]
        return self.add("Transpose", [source], (number, channels, *sides), perm=[0, 3, 1, 2])

    def replace(self, old: str, new: str) -> None:
        """Read one tensor wherever another is read, and give it where that is given."""
        for node in self.users(old):
            for which, name in enumerate(node.input):
                if name == old:
                    node.input[which] = new
        if self.given(old):
            self._rename(old, self._name("before"))
            self._rename(new, old)

    def _rename(self, old: str, new: str) -> None:
        for node in self.proto.node:
            for names in (node.input, node.output):
                for which, name in enumerate(names):
                    if name == old:
                        names[which] = new

    def _name(self, kind: str) -> str:
        taken = {name for node in self.proto.node for name in node.output} | set(self._held)
        while (name := f"rewritten/{kind}_{self._named}") in taken:
            self._named += 1
        return name

    def done(self) -> Any:
        """Give the model with what nobody reads left out, in an order that can be run."""
        keep(self.proto)
        return self.model


def attributes(node: Any) -> dict[str, Any]:
    """Attributes of a node, by name."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def keep(graph: Any) -> None:
    """Leave out of a graph what none of its outputs comes of, and sort the rest."""
    makers = {name: node for node in graph.node for name in node.output}
    order: list[Any] = []
    seen: set[str] = set()
    waiting = [(output.name, False) for output in reversed(graph.output)]
    while waiting:
        name, ready = waiting.pop()
        node = makers.get(name)
        if ready:
            order.append(node)
        if ready or name in seen:
            continue
        seen.add(name)
        if node is not None:
            waiting.append((name, True))
            waiting += [(before, False) for before in reversed(node.input)]
    kept = list({id(node): node for node in order}.values())
    copies = [onnx.NodeProto() for _ in kept]
    for copy, node in zip(copies, kept, strict=True):
        copy.CopyFrom(node)
    held = [tensor for tensor in graph.initializer if tensor.name in seen]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(copies)
    graph.initializer.extend(held)


def fixed(model: Any, sizes: Mapping[str, int], outputs: Sequence[str] = ()) -> Any:
    """Fix free dimensions by their names, cut off outputs that are not wanted, work out shapes.

    Parameters
    ----------
    model
        ``onnx.ModelProto``.
    sizes
        Of the dimensions.
    outputs
        Names of those that are wanted; none for all.
    """
    graph = Graph(model)
    proto = graph.proto
    wanted = [output for output in proto.output if not outputs or output.name in outputs]
    del proto.output[:]
    proto.output.extend(wanted)
    for value in (*proto.input, *proto.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in sizes:
                dimension.dim_value = sizes[dimension.dim_param]
    keep(proto)
    graph = Graph(graph.model)
    for node in list(graph.proto.node):
        known = _worked_out(graph, node)
        if known is not None:
            graph.replace(node.output[0], graph.hold(known))
    return graph.done()


def _worked_out(graph: Graph, node: Any) -> np.ndarray | None:
    """Value of a node on shapes, where it can be known."""
    if graph.given(node.output[0]):
        return None
    if node.op_type == "Shape":
        shape = graph.shape(node.input[0])
        said = attributes(node)
        if shape is None:
            return None
        return np.asarray(shape, np.int64)[said.get("start", 0) : said.get("end", len(shape))]
    values = [graph.value(node, which) for which in range(len(node.input))]
    if node.op_type not in _OF_SHAPES or len(node.output) != 1:
        return None
    if any(value is None or value.dtype != np.int64 for value in values):
        return None
    given = dict(zip(node.input, values, strict=True))
    alone = helper.make_graph(
        [node], "alone",
        [helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None) for name in given],
        [helper.make_tensor_value_info(node.output[0], onnx.TensorProto.UNDEFINED, None)],
    )  # fmt: skip
    model = helper.make_model(alone, opset_imports=graph.model.opset_import)
    (value,) = ReferenceEvaluator(model).run(None, given)
    return np.asarray(value)


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of tensors, where all of them is known."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
            shapes[value.name] = tuple(d.dim_value for d in kind.shape.dim)
    return shapes
