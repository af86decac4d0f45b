"""The segmenter's network: a space-to-depth stem, a small U-Net, a heat map and offsets.

Everything runs at a quarter of the frame's resolution or below, because that is where the time
goes: at an equal receptive field a full-resolution U-Net costs about seven times as much. What the
coarse grid loses in position the offsets give back. Heat map and offsets follow "Objects as Points"
(Zhou, Wang and Krähenbühl, arXiv:1904.07850 (2019)); the U-Net with sums in place of concatenations
follows Lin et al., "Feature Pyramid Networks" (2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

#: Pixels along a side of one cell of the outputs.
STRIDE = 4

#: Pixels along a side of a cell of the coarsest level. Sides need not be multiples of it: a frame
#: padded to one shows the network a border that no crystal has, and it marks defects along it.
TOTAL_STRIDE = 16

#: Logit that the heat map starts from: about the share of cells that hold a defect (1-2 %), so that
#: the first steps are not spent on learning that defects are rare (Lin et al., focal loss, 2017).
PRIOR_LOGIT = -4.0


@dataclass(frozen=True)
class NetworkSettings:
    """Size of the network.

    Attributes
    ----------
    width
        Channels at a quarter of the frame's resolution; multiples of 16 fill vector registers.
    deep_width
        Channels at 1/8 and 1/16.
    """

    width: int = 32
    deep_width: int = 64


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolve 3x3, normalise, rectify; ONNX Runtime fuses the three into one kernel."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added (He et al., 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps in, feature maps of the same shape out."""
        return functional.relu(x + self.second(self.first(x)))


class DefectNetwork(nn.Module):
    """Conditioned frame -> heat-map logits and offsets at a quarter of the resolution.

    The stem, a 12x12 convolution in steps of 4, is space-to-depth by 4 followed by a 3x3
    convolution, written as the one operator that runtimes do fastest.
    """

    def __init__(self, settings: NetworkSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or NetworkSettings()
        width, deep = self.settings.width, self.settings.deep_width
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3 * STRIDE, stride=STRIDE, padding=STRIDE, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.encode4 = ResidualBlock(width)
        self.encode8 = nn.Sequential(_convolution(width, deep, stride=2), ResidualBlock(deep))
        self.encode16 = nn.Sequential(_convolution(deep, deep, stride=2), ResidualBlock(deep))
        self.lateral8 = nn.Conv2d(deep, deep, 1)
        self.decode8 = ResidualBlock(deep)
        self.lateral4 = nn.Conv2d(deep, width, 1)
        self.decode4 = ResidualBlock(width)
        last = nn.Conv2d(width, 3, 1)
        last.bias = nn.Parameter(torch.tensor([PRIOR_LOGIT, 0.0, 0.0]))
        self.head = nn.Sequential(_convolution(width, width), last)

    def forward(self, frame: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map frames to logits and offsets.

        Parameters
        ----------
        frame
            Conditioned frames, shape (n, 1, H, W), H and W multiples of `STRIDE`.

        Returns
        -------
        logits
            Shape (n, 1, H/4, W/4).
        offsets
            Shape (n, 2, H/4, W/4): pixels (x, y) from the cell's centre to the defect.
        """
        fine = self.encode4(self.stem(frame))
        middle = self.encode8(fine)
        coarse = self.encode16(middle)
        middle = self.decode8(middle + _twice(self.lateral8(coarse), middle))
        fine = self.decode4(fine + _twice(self.lateral4(middle), fine))
        output = self.head(fine)
        return output[:, :1], output[:, 1:] * float(STRIDE)


def _twice(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Repeat every cell twice along both sides, and cut what exceeds the shape of ``like``."""
    doubled = functional.interpolate(x, scale_factor=2.0, mode="nearest")
    return doubled[..., : like.shape[-2], : like.shape[-1]]


def count_parameters(network: nn.Module) -> int:
    """Count the trainable numbers in a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
