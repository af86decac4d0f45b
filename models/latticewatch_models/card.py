"""What a model file says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: What the ``latticewatch.format`` entry of a model file must read.
FORMAT = "segmenter-1"


class ModelError(ValueError):
    """A model file is missing, damaged, or not one of this package's segmenters."""


@dataclass(frozen=True)
class ModelCard:
    """What a model file says of itself; see `latticewatch_models.export.ModelFacts`.

    `columns` tells whether it marks atomic columns; files written before there were such say no.
    `site_weight` is what a unit of its logit on a chalcogen site counts for, as a log likelihood
    ratio beside the column's own intensity (0, where that was not measured: nothing).
    """

    path: str
    trained: bool
    version: str
    stride: int
    lattice_constant_px: float
    scale_range: tuple[float, float]
    crystals: tuple[str, ...]
    seed: int
    iterations: int
    columns: bool = False
    site_weight: float = 0.0
    notes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: str) -> ModelCard:
        """Read the strings stored in an ONNX file; raises ModelError where they are not ours."""
        if metadata.get("latticewatch.format") != FORMAT:
            found = metadata.get("latticewatch.format", "none")
            raise ModelError(
                f"{path}: not a segmenter of this version (format {found}, wanted {FORMAT}): "
                "give a file written by 'latticewatch train' or leave the option out"
            )
        try:
            low, high = (float(v) for v in metadata["scale_range"].split(","))
            return cls(
                path=path,
                trained=metadata["trained"] == "yes",
                version=metadata["version"],
                stride=int(metadata["stride"]),
                lattice_constant_px=float(metadata["lattice_constant_px"]),
                scale_range=(low, high),
                crystals=tuple(c for c in metadata["crystals"].split(",") if c),
                seed=int(metadata["seed"]),
                iterations=int(metadata["iterations"]),
                columns=metadata.get("columns") == "yes",
                site_weight=float(metadata.get("site_weight", "0")),
                notes={k[5:]: v for k, v in metadata.items() if k.startswith("note.")},
            )
        except (KeyError, ValueError) as error:
            raise ModelError(
                f"{path}: the model's description is damaged ({error}): export it again"
            ) from error
