"""A trained network as an ONNX file: checked against torch, with its own description inside."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from latticewatch_models.calibration import Calibration, log_noise
from latticewatch_models.card import FORMAT, ModelCard
from latticewatch_models.network import OFFSET_UNIT, DefectNetwork
from latticewatch_models.runtime import COLUMN_OUTPUTS, OUTPUTS

#: Lowest operator set with all operators used here in every provider's tables.
OPSET = 18

#: Largest difference allowed between ONNX Runtime and torch, in probability and in units of cells.
EXPORT_TOLERANCE = 1e-4

#: Frames and their sides that the export is checked at: square, oblong, no multiple of the coarsest
#: cell, and several at once.
_CHECK_SHAPES = ((1, 64, 96), (1, 128, 128), (1, 164, 44), (3, 64, 44))


class ExportError(RuntimeError):
    """The exported model does not compute what the network computes."""


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
    site_weight
        What a unit of its logit on a chalcogen site counts for (`runtime.ModelCard`).
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
    site_weight: float = 0.0
    notes: Mapping[str, str] = field(default_factory=dict)


class _Exported(nn.Module):
    """The network with its calibration and the sigmoid inside."""

    def __init__(self, network: DefectNetwork, calibrations: Sequence[Calibration]) -> None:
        super().__init__()
        self.network = network
        self.calibrations = tuple(calibrations)

    def forward(self, frame: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Heat and offset of every kind, in the order of `OUTPUTS`."""
        logits, offsets = self.network(frame)
        noise = log_noise(frame)
        outputs: list[torch.Tensor] = []
        for kind, calibration in enumerate(self.calibrations):
            logit = calibration.apply(logits[:, kind : kind + 1], noise)
            outputs += [torch.sigmoid(logit), offsets[:, 2 * kind : 2 * kind + 2]]
        return tuple(outputs)


def export_onnx(
    network: DefectNetwork,
    path: str | Path,
    facts: ModelFacts,
    calibration: Calibration | None = None,
    column_calibration: Calibration | None = None,
) -> ModelCard:
    """Write a network as ONNX and check the file against torch.

    The file maps ``frame`` (n, 1, H, W) float32, H and W multiples of the stride s, to ``heat``
    (n, 1, H/s, W/s), probabilities, and ``offset`` (n, 2, H/s, W/s), pixels; and, where the network
    marks atomic columns, to ``column_heat`` and ``column_offset``, alike.

    Parameters
    ----------
    network
        Trained network; its normalisation layers are folded into the convolutions.
    path
        File to write.
    facts
        Description stored in the file.
    calibration, column_calibration
        Scaling of the logits of defects and of columns, folded in; none leaves them as they are.

    Returns
    -------
    ModelCard
        The description, as `Segmenter` will read it.

    Raises
    ------
    ExportError
        Where ONNX Runtime and torch differ by more than `EXPORT_TOLERANCE`.
    """
    calibrations = (calibration or Calibration(), column_calibration or Calibration())
    model = _Exported(network, calibrations[: network.kinds]).eval()
    proto = _trace(model)
    metadata = _metadata(facts, network)
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

    Offsets count in units of 4 px, so that all outputs are of order one.
    """
    session = onnxruntime.InferenceSession(serialised, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    rng = np.random.default_rng(0)
    worst = 0.0
    for number, *sides in _CHECK_SHAPES:
        frame = rng.normal(size=(number, 1, *sides)).astype(np.float32)
        with torch.inference_mode():
            ours = [o.numpy() for o in model(torch.from_numpy(frame))]
        theirs = session.run(names, {"frame": frame})
        for name, one, other in zip(names, ours, theirs, strict=True):
            unit = OFFSET_UNIT if name.endswith("offset") else 1.0
            worst = max(worst, float(np.abs(one - other).max()) / unit)
    return worst


def _trace(model: _Exported) -> Any:
    """Trace to an ONNX protobuf for any number of frames, without the tracer's own notes."""
    side = torch.export.Dim.DYNAMIC
    stride = model.network.stride
    names = OUTPUTS + COLUMN_OUTPUTS if model.network.settings.columns else OUTPUTS
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
                (torch.zeros(1, 1, 64 + stride, 96 + 2 * stride),),
                input_names=["frame"],
                output_names=list(names),
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=({2: side, 3: side},),
                verbose=False,
            )
    finally:
        registry.setLevel(level)
    if program is None:
        raise ExportError("torch exported nothing: check torch's version against pyproject.toml")
    return freed(_stripped(program.model_proto))


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
    return proto


def freed(proto: Any) -> Any:
    """Name the dimensions that are free: the number of frames, and their sides.

    A tracer takes a batch of one for a constant. No operator of the designs depends on it, which
    `compare` holds by running several frames at once.
    """
    for value, names in (
        (proto.graph.input[0], ("batch", "height", "width")),
        *((output, ("batch", "rows", "columns")) for output in proto.graph.output),
    ):
        number, _, *sides = value.type.tensor_type.shape.dim
        for dimension, name in zip((number, *sides), names, strict=True):
            dimension.dim_param = name
    return proto


def _metadata(facts: ModelFacts, network: DefectNetwork) -> dict[str, str]:
    """Facts as the strings that an ONNX file holds; no dates and no paths, to be reproducible."""
    return {
        **{f"note.{key}": value for key, value in facts.notes.items()},
        "latticewatch.format": FORMAT,
        "trained": "yes" if facts.trained else "no",
        "version": facts.version,
        "stride": str(network.stride),
        "columns": "yes" if network.settings.columns else "no",
        "site_weight": repr(facts.site_weight),
        "lattice_constant_px": repr(facts.lattice_constant_px),
        "scale_range": ",".join(repr(v) for v in facts.scale_range),
        "crystals": ",".join(facts.crystals),
        "seed": str(facts.seed),
        "iterations": str(facts.iterations),
    }
