"""A trained network as an ONNX file: checked against torch, with its own description inside."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from latticewatch_models.network import STRIDE, TOTAL_STRIDE, DefectNetwork
from latticewatch_models.runtime import FORMAT, ModelCard

#: Lowest operator set with all operators used here in every provider's tables.
OPSET = 18

#: Largest difference allowed between ONNX Runtime and torch, in probability and in units of cells.
EXPORT_TOLERANCE = 1e-4

#: Frame sides the export is checked at: square, oblong, and no multiple of the coarsest cell.
_CHECK_SHAPES = ((64, 96), (128, 128), (164, 44))


class ExportError(RuntimeError):
    """The exported model does not compute what the network computes."""


@dataclass(frozen=True)
class Calibration:
    """Platt scaling of the heat map: probability = sigmoid(scale * logit + shift).

    Platt, "Probabilistic outputs for support vector machines" (1999); with shift 0 it is the
    temperature scaling of Guo et al., ICML (2017).
    """

    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class ModelFacts:
    """What a model file says of itself.

    Attributes
    ----------
    trained
        False marks a file for tests and development alone.
    lattice_constant_px
        Canonical scale: the lattice constant that frames are brought to, pixels.
    scale_range
        Lattice constants, as fractions of the canonical one, that need no resampling.
    crystals
        Crystals in the training set.
    seed, iterations
        What reproduces the training.
    notes
        Anything else, such as accuracy; strings.
    """

    trained: bool
    lattice_constant_px: float = 10.5
    scale_range: tuple[float, float] = (0.85, 1.2)
    crystals: tuple[str, ...] = ()
    seed: int = 0
    iterations: int = 0
    version: str = "0.1.0"
    notes: Mapping[str, str] = field(default_factory=dict)


class _Exported(nn.Module):
    """The network with its calibration and the sigmoid inside."""

    def __init__(self, network: DefectNetwork, calibration: Calibration) -> None:
        super().__init__()
        self.network = network
        self.scale = calibration.scale
        self.shift = calibration.shift

    def forward(self, frame: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, offsets = self.network(frame)
        return torch.sigmoid(logits * self.scale + self.shift), offsets


def export_onnx(
    network: DefectNetwork,
    path: str | Path,
    facts: ModelFacts,
    calibration: Calibration | None = None,
) -> ModelCard:
    """Write a network as ONNX and check the file against torch.

    The file maps ``frame`` (1, 1, H, W) float32, H and W multiples of 4, to ``heat``
    (1, 1, H/4, W/4), probabilities, and ``offset`` (1, 2, H/4, W/4), pixels.

    Parameters
    ----------
    network
        Trained network; its normalisation layers are folded into the convolutions.
    path
        File to write.
    facts
        Description stored in the file.
    calibration
        Scaling of the logits, folded in; none leaves them as they are.

    Returns
    -------
    ModelCard
        The description, as `Segmenter` will read it.

    Raises
    ------
    ExportError
        Where ONNX Runtime and torch differ by more than `EXPORT_TOLERANCE`.
    """
    model = _Exported(network, calibration or Calibration()).eval()
    proto = _trace(model)
    metadata = _metadata(facts)
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    difference = compare(model, proto.SerializeToString())
    if difference > EXPORT_TOLERANCE:
        raise ExportError(
            f"ONNX Runtime differs from torch by {difference:.2g} (allowed {EXPORT_TOLERANCE:g}): "
            "check the versions of torch, onnx and onnxruntime against pyproject.toml"
        )
    Path(path).write_bytes(proto.SerializeToString())
    return ModelCard.from_metadata(metadata, str(path))


def compare(model: nn.Module, serialised: bytes) -> float:
    """Largest difference between torch and ONNX Runtime over a few frames of noise.

    Offsets count in units of cells, so that both outputs are of order one.
    """
    session = onnxruntime.InferenceSession(serialised, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    worst = 0.0
    for shape in _CHECK_SHAPES:
        frame = rng.normal(size=(1, 1, *shape)).astype(np.float32)
        with torch.inference_mode():
            heat, offset = (o.numpy() for o in model(torch.from_numpy(frame)))
        ours = session.run(["heat", "offset"], {"frame": frame})
        worst = max(worst, float(np.abs(ours[0] - heat).max()))
        worst = max(worst, float(np.abs(ours[1] - offset).max()) / STRIDE)
    return worst


def _trace(model: nn.Module) -> Any:
    """Trace to an ONNX protobuf with named free sides and without the tracer's own notes."""
    side = torch.export.Dim.DYNAMIC
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registry.level
    # torch warns of a missing torchvision, which is not used here, and of its own internals
    registry.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            program = torch.onnx.export(
                model,
                (torch.zeros(1, 1, 4 * TOTAL_STRIDE + STRIDE, 6 * TOTAL_STRIDE + 2 * STRIDE),),
                input_names=["frame"],
                output_names=["heat", "offset"],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=({2: side, 3: side},),
                verbose=False,
            )
    finally:
        registry.setLevel(level)
    if program is None:
        raise ExportError("torch exported nothing: check torch's version against pyproject.toml")
    return _stripped(program.model_proto)


def _stripped(proto: Any) -> Any:
    """Drop the tracer's notes: they hold source paths of the machine that exported."""
    graph = proto.graph
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.metadata_props[:]
    del graph.value_info[:]
    proto.doc_string = graph.doc_string = ""
    graph.name = "latticewatch-segmenter"
    for value, names in (
        (graph.input[0], ("height", "width")),
        (graph.output[0], ("rows", "columns")),
        (graph.output[1], ("rows", "columns")),
    ):
        for dimension, name in zip(value.type.tensor_type.shape.dim[2:], names, strict=True):
            dimension.dim_param = name
    return proto


def _metadata(facts: ModelFacts) -> dict[str, str]:
    """Facts as the strings that an ONNX file holds; no dates and no paths, to be reproducible."""
    return {
        **{f"note.{key}": value for key, value in facts.notes.items()},
        "latticewatch.format": FORMAT,
        "trained": "yes" if facts.trained else "no",
        "version": facts.version,
        "stride": str(STRIDE),
        "lattice_constant_px": repr(facts.lattice_constant_px),
        "scale_range": ",".join(repr(v) for v in facts.scale_range),
        "crystals": ",".join(facts.crystals),
        "seed": str(facts.seed),
        "iterations": str(facts.iterations),
    }
