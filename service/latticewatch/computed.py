"""What a frame was computed on: part of its result, since processors round differently."""

from __future__ import annotations

from dataclasses import dataclass, field

from latticewatch_models.segmentation import RanOn

#: A place that is no GPU.
HOST = "host"


@dataclass(frozen=True)
class Computed:
    """What one frame was analysed on.

    Attributes
    ----------
    provider
        What ran the segmenter: a provider of ONNX Runtime by its short name, or torch's.
    device
        Where that ran: ``host`` or ``cuda:N``.
    arrays
        Where all other array mathematics ran.
    precision
        Number format of the segmenter's weights.
    reason
        Why it is not what it was before; part of no comparison.
    """

    provider: str
    device: str
    arrays: str
    precision: str
    reason: str = field(default="", compare=False)

    @classmethod
    def of(cls, ran_on: RanOn | None, arrays: str) -> Computed | None:
        """Join both; None where the segmenter does not tell."""
        if ran_on is None:
            return None
        return cls(ran_on.provider, ran_on.device, arrays, ran_on.precision)

    def __str__(self) -> str:
        segmenter = f"segmenter by {self.provider} on {self.device} in {self.precision}"
        return f"{segmenter}, arrays on {self.arrays}"
