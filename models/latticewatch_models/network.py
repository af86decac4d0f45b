"""The segmenter's network: a design's feature maps, and heat maps with offsets read from them.

The shipped design works at a quarter of the frame's resolution or below, because that is where the
time goes. What the coarse grid loses in position the offsets give back. Heat map and offsets follow
"Objects as Points" (Zhou, Wang and Krähenbühl, arXiv:1904.07850 (2019)).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from latticewatch_models.blocks import convolution
from latticewatch_models.designs import DESIGNS

#: Logits that the heat maps of defects and of atomic columns start from: about the share of cells
#: that hold one (1-2 %, and a half), so that the first steps are not spent on learning that defects
#: are rare (Lin et al., focal loss, 2017).
PRIOR_LOGIT, COLUMN_LOGIT = -4.0, 0.0

#: Pixels that offsets are counted in, inside the network and in its loss, for every design: about
#: the distance to which they are asked for.
OFFSET_UNIT = 4.0


@dataclass(frozen=True)
class NetworkSettings:
    """Form and size of the network.

    Attributes
    ----------
    design
        Name in `designs.DESIGNS`.
    width
        Channels at the finest resolution; multiples of 16 fill vector registers.
    deep_width
        Channels at the coarser ones.
    columns
        Whether atomic columns are marked beside defects.
    """

    width: int = 16
    deep_width: int = 32
    design: str = "half"
    columns: bool = True

    def __post_init__(self) -> None:
        if self.design not in DESIGNS:
            known = ", ".join(DESIGNS)
            raise ValueError(f"design {self.design!r} is not known: use one of {known}")


class DefectNetwork(nn.Module):
    """Conditioned frame -> logits of the heat maps, and offsets, on the grid of the design."""

    def __init__(self, settings: NetworkSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or NetworkSettings()
        self.trunk = DESIGNS[self.settings.design](self.settings.width, self.settings.deep_width)
        self.kinds = 2 if self.settings.columns else 1
        width = self.trunk.outputs
        last = nn.Conv2d(width, 3 * self.kinds, 1)
        start = torch.zeros(3 * self.kinds)
        start[: self.kinds] = torch.tensor([PRIOR_LOGIT, COLUMN_LOGIT][: self.kinds])
        last.bias = nn.Parameter(start)
        self.head = nn.Sequential(convolution(width, width), last)

    @property
    def stride(self) -> int:
        """Pixels along a side of one cell of the outputs."""
        return self.trunk.stride

    @property
    def total_stride(self) -> int:
        """Pixels along a side of a cell of the coarsest level.

        Sides need not be multiples of it: a frame padded to one shows the network a border that no
        crystal has, and it marks defects along it.
        """
        return self.trunk.total_stride

    def forward(self, frame: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map frames to logits and offsets.

        Parameters
        ----------
        frame
            Conditioned frames, shape (n, 1, H, W), H and W multiples of `stride`.

        Returns
        -------
        logits
            Shape (n, kinds, h, w), h and w a `stride`-th of H and W: defects first, and columns.
        offsets
            Shape (n, 2 kinds, h, w): pixels (x, y) from the cell's centre to the defect, and to the
            column.
        """
        output = self.head(self.trunk(frame))
        return output[:, : self.kinds], output[:, self.kinds :] * OFFSET_UNIT


def count_parameters(network: nn.Module) -> int:
    """Count the trainable numbers in a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
