"""A network's graph as CUDA's provider is fastest at it: the same sums, in fewer and wider steps.

That provider's convolutions have their channels last, and most other operators do not care. What
does (an upsampling, an output of several channels) is turned to and fro around, at more than the
convolutions themselves take. Here such steps are written as operators that need no turning: between
a transposition of ours and the one that a convolution brings nothing is left of both.

Everything is known of the shapes: a rewritten model is for one number of frames of one shape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import onnx

from latticewatch_models.graphs import Graph, fixed
from latticewatch_models.heads import join_bounds, part_outputs
from latticewatch_models.packing import pack
from latticewatch_models.upsampling import add_upsampled


def rewritten(
    model: bytes, sizes: Mapping[str, int], outputs: Sequence[str] = (), *, packs: bool = False
) -> tuple[bytes, Counter[str]]:
    """Rewrite a model for frames of one shape.

    Parameters
    ----------
    model
        Content of the file.
    sizes
        Of its free dimensions, by their names.
    outputs
        Those that are wanted; none for all. The rest is cut off.
    packs
        Whether convolutions of few channels are packed, which pays in 16-bit floats alone: see
        `packing`.

    Returns
    -------
    content
        The same where nothing was found.
    found
        How often each of `PASSES` found what it looks for.
    """
    proto = onnx.load_from_string(model)
    cut = len(set(outputs)) not in (0, len(proto.graph.output))
    found: Counter[str] = Counter(outputs=int(cut))
    changed = fixed(proto, sizes, outputs)
    for name, change in PASSES.items():
        if name == "packed" and not packs:
            continue
        graph = Graph(changed)
        found[name] = change(graph)
        changed = graph.done()
    if not any(found.values()):
        return model, found
    return changed.SerializeToString(), found


def drop_whole_slices(graph: Graph) -> int:
    """Leave out slices that cut nothing off: each would be a copy."""
    found = 0
    for node in graph.nodes("Slice"):
        before, after = graph.shape(node.input[0]), graph.shape(node.output[0])
        if graph.forwards(node) and before is not None and before == after:
            graph.replace(node.output[0], node.input[0])
            found += 1
    return found


def look_at_planes(graph: Graph) -> int:
    """Look at frames of one channel as if it lay last: turned, they would be copied."""
    looked: dict[str, str] = {}
    for node in graph.nodes("Conv"):
        source = node.input[0]
        shape = graph.shape(source)
        if shape is not None and len(shape) == 4 and shape[1] == 1:
            if source not in looked:
                looked[source] = graph.first(graph.last(source))
            node.input[0] = looked[source]
    return len(looked)


#: What is looked for, in order.
PASSES = {
    "slices": drop_whole_slices,
    "bounds": join_bounds,
    "parts": part_outputs,
    "upsampled": add_upsampled,
    "packed": pack,
    "planes": look_at_planes,
}
