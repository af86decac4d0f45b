"""Convolutions of few channels as convolutions of more, on pixels that are taken together.

Where channels lie last, the channels of pixels side by side in a row are channels of one wide
pixel: only the weights change, most of them to zeros. GPUs multiply matrices of 16-bit floats in
tiles of 64 and more columns, of which 16 channels leave most empty; the zeros cost nothing there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from latticewatch_models.graphs import Convolution, Graph

#: Channels of a wide pixel at most, read or written; 0 packs nothing.
MOST_CHANNELS = 64

#: The same of a convolution that reads the frame itself, of one channel. Through a network whose
#: first convolution was packed to 64 channels 16 frames of 512 x 512 took an H200 981 us; with 32
#: they took 913, and with none 968 (onnxruntime-gpu 1.31.1, all others packed to 64; all to 32 but
#: the first 1,232, all to 128 but the first 1,049, none 1,319, and as the file has it 1,639).
MOST_OF_FRAME = 32

#: Wide pixels of a run at least: four tiles of 128 for each of the 132 multiprocessors of an H200.
#: Of fewer each tile would take longer, and no other would wait for its place.
LEAST_PIXELS = 1 << 16

#: Channels that cuDNN makes fewer ones up to.
_CHANNELS_READ = 8


def pack(graph: Graph) -> int:
    """Pack the convolutions of a graph that it may pay for; see the module."""
    return sum(_pack(graph, node) for node in graph.nodes("Conv"))


def _pack(graph: Graph, node: Any) -> int:
    convolution = graph.convolution(node)
    before, after = graph.shape(node.input[0]), graph.shape(node.output[0])
    if convolution is None or before is None or after is None:
        return 0
    together = _together(convolution, before, after)
    if together < 2:
        return 0
    read = together * convolution.strides[1]
    number, channels, rows, columns = before
    wide = (number, rows, columns // read, read * channels)
    source = graph.first(graph.reshape(graph.last(node.input[0]), wide))
    number, channels, rows, columns = after
    shape = (number, together * channels, rows, columns // together)
    made = graph.convolve(source, shape, packed(convolution, together))
    apart = graph.reshape(graph.last(made), (number, rows, columns, channels))
    graph.replace(node.output[0], graph.first(apart))
    return 1


def _together(convolution: Convolution, before: tuple[int, ...], after: tuple[int, ...]) -> int:
    """Pixels of a result's row that are taken together, a power of two."""
    outputs, inputs = convolution.weights.shape[:2]
    step, pixels = convolution.strides[1], after[0] * after[2] * after[3]
    channels = min(MOST_CHANNELS, MOST_OF_FRAME) if inputs == 1 else MOST_CHANNELS
    most = channels // max(outputs, inputs * step)
    if before[3] != step * after[3] or most < 2:
        return 1
    fitting = [
        together
        for together in (2**power for power in range(1, most.bit_length()))
        if after[3] % together == 0
        and (pixels >= together * LEAST_PIXELS or _shorter(convolution, together))
        and _even(convolution, together)
    ]
    return max(fitting, default=1)


def _shorter(convolution: Convolution, together: int) -> bool:
    """Whether each result is a shorter sum when packed, as of a frame of one channel."""
    sums = [
        max(weights.shape[1], _CHANNELS_READ) * weights.shape[2] * weights.shape[3]
        for weights in (convolution.weights, packed(convolution, together).weights)
    ]
    return bool(sums[1] <= sums[0])


def _even(convolution: Convolution, together: int) -> bool:
    """Whether as many wide pixels are added on the left as on the right.

    Of others ONNX Runtime has cuDNN compute more than is asked for, and cuts it off by a copy.
    """
    _, left, _, right = packed(convolution, together).pads
    return left == right


def packed(convolution: Convolution, together: int) -> Convolution:
    """Give the convolution that writes so many pixels of a row at once.

    Parameters
    ----------
    convolution
        Whose results are as many as its steps: ``columns / step`` to a row.
    together
        Pixels of a result; of what is read, ``step`` times as many are taken together.
    """
    outputs, inputs, rows, columns = convolution.weights.shape
    (down, step), (above, left, below, _) = convolution.strides, convolution.pads
    read = together * step
    ends = (-left // read, ((together - 1) * step + columns - 1 - left) // read)
    blocks = ends[1] - ends[0] + 1
    kind = convolution.weights.dtype
    weights = np.zeros((together, outputs, read, inputs, rows, blocks), kind)
    for pixel in range(together):
        for column in range(columns):
            block, within = divmod(pixel * step + column - left, read)
            weights[pixel, :, within, :, :, block - ends[0]] = convolution.weights[..., column]
    return replace(
        convolution,
        weights=weights.reshape(together * outputs, read * inputs, rows, blocks),
        bias=np.tile(convolution.bias, together),
        strides=(down, 1),
        pads=(above, -ends[0], below, ends[1]),
    )
