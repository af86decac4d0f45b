"""Smaller variants of a model file: int8 for processors that are fast at it, float16 for GPUs.

    python -m latticewatch_models.variants model.onnx --int8 --fp16 --out DIR

Inputs, outputs and what the file says of itself stay as they are; a note ``variant`` is added.
What each costs and gains is in docs/segmenter.md, measured by ``bench/variants.py``. A variant is
run like any other model: ``latticewatch serve --model FILE``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime import quantization

from latticewatch_models.halves import half
from latticewatch_models.runtime import ModelCard, ModelError
from latticewatch_models.scenes import draw_scene

__all__ = ["ModelError", "write_fp16", "write_int8"]

logger = logging.getLogger(__name__)

#: Scenes that the range of every activation is measured on, drawn from the ranges of training, by
#: seeds of their own.
CALIBRATION_SCENES = 64
_STREAM = 2
_SHAPE = (256, 256)

#: Share of an activation's values that its range holds. The few beyond are clipped: one saturated
#: adatom in a noiseless scene would otherwise cost all others their resolution.
_PERCENTILE = 99.999


#: Two heat maps and two offsets have six.
_FEW_CHANNELS = 8


class _Frames(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Conditioned scenes as the network's input."""

    def __init__(self, number: int, seed: int) -> None:
        self._frames = _draw(number, seed)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Give the next input, and None after the last."""
        return next(self._frames, None)


def _draw(number: int, seed: int) -> Iterator[dict[str, np.ndarray]]:
    for index in range(number):
        scene = draw_scene(np.random.default_rng([seed, _STREAM, index]), _SHAPE)
        yield {"frame": np.ascontiguousarray(scene.image, np.float32)[None, None]}


def write_int8(
    source: Path, target: Path, scenes: int = CALIBRATION_SCENES, seed: int = 1
) -> ModelCard:
    """Write a model whose convolutions work on 8-bit integers, weights quantised by channel.

    The last convolution, which gives logits and offsets, stays float: 256 steps are too few for
    offsets to a tenth of a pixel, and for probabilities near 0 and 1.

    Parameters
    ----------
    source
        ONNX file written by `latticewatch_models.export`.
    target
        File to write.
    scenes, seed
        Simulated scenes that the ranges are measured on, and their seed.

    Returns
    -------
    ModelCard
        What the new file says of itself.

    Raises
    ------
    ModelError
        The source is not one of this package's segmenters.
    """
    card = _card(onnx.load(source), source)
    # the calibrator prints its progress
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        prepared, raw = Path(folder) / "prepared.onnx", Path(folder) / "raw.onnx"
        quantization.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(raw),
            _Frames(scenes, seed),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Add"],
            per_channel=True,
            # without the dot-product instructions of newer processors, sums of full 8-bit products
            # saturate 16 bits
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=_exact_nodes(onnx.load(prepared)),
            calibrate_method=quantization.CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": _PERCENTILE},
        )
        return _finish(onnx.load(raw), card, target, "int8")


def write_fp16(source: Path, target: Path) -> ModelCard:
    """Write a model that works on 16-bit floats, its inputs and outputs 32-bit as before.

    Parameters and errors as of `write_int8`. Processors without 16-bit arithmetic run it slower
    than the original.
    """
    card = _card(onnx.load(source), source)
    return _finish(onnx.load_from_string(half(source.read_bytes())), card, target, "fp16")


def _card(model: Any, path: Path) -> ModelCard:
    return ModelCard.from_metadata({p.key: p.value for p in model.metadata_props}, str(path))


def _exact_nodes(model: Any) -> list[str]:
    """Names of the convolutions that give outputs and noise, and of all that comes of them.

    They are those of a few channels; all others have at least `_FEW_CHANNELS`.
    """
    graph = model.graph
    sizes = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    names: list[str] = []
    exact: set[str] = set()
    for node in graph.node:
        few = node.op_type == "Conv" and sizes.get(node.input[1], _FEW_CHANNELS) < _FEW_CHANNELS
        if few or exact & set(node.input):
            names.append(node.name)
            exact |= set(node.output)
    return names


def _finish(model: Any, card: ModelCard, target: Path, variant: str) -> ModelCard:
    """Put the description back, with the note, and write the file."""
    original = {p.key: p.value for p in onnx.load(card.path).metadata_props}
    metadata = {**original, "note.variant": variant}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    target.write_bytes(model.SerializeToString())
    return ModelCard.from_metadata(metadata, str(target))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``python -m latticewatch_models.variants MODEL [--int8] [--fp16] --out DIR``."""
    parser = argparse.ArgumentParser(prog="latticewatch_models.variants", description=__doc__)
    parser.add_argument("model", type=Path, help="ONNX file to make variants of")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--fp16", action="store_true")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    if not (options.int8 or options.fp16):
        parser.error("no variant was named: give --int8, --fp16, or both")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    for name, wanted, write in (
        ("int8", options.int8, write_int8),
        ("fp16", options.fp16, write_fp16),
    ):
        if wanted:
            card = write(options.model, options.out / f"{options.model.stem}-{name}.onnx")
            logger.info("wrote %s", card.path)


if __name__ == "__main__":
    main()
