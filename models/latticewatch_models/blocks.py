"""What the segmenter's networks are built of."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def convolution(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    """Convolve, normalise, rectify; ONNX Runtime fuses the three into one kernel.

    With a stride the outputs lie on the centres of cells of ``stride`` pixels.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=(size - 1) // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolve each channel by itself and mix them after (Howard et al., MobileNets, 2017)."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )


def stem(width: int, stride: int) -> nn.Sequential:
    """Space-to-depth by ``stride`` and a 3x3 convolution, as the one operator runtimes do best."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3 * stride, stride=stride, padding=stride, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added (He et al., 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolution(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps in, feature maps of the same shape out."""
        return functional.relu(x + self.second(self.first(x)))


class SeparableBlock(nn.Module):
    """As `ResidualBlock`, of two separable convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(separable(width, width), nn.ReLU(inplace=True))
        self.second = separable(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps in, feature maps of the same shape out."""
        return functional.relu(x + self.second(self.first(x)))


class WideBlock(nn.Module):
    """A depthwise 5x5 convolution, dilated, and two of 1x1 through twice the width.

    After Liu et al., "A ConvNet for the 2020s", CVPR (2022), with the batch normalisation that
    runtimes fold away.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.spread = nn.Sequential(
            nn.Conv2d(width, width, 5, padding=2 * dilation, dilation=dilation, groups=width),
            nn.BatchNorm2d(width),
        )
        self.mix = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps in, feature maps of the same shape out."""
        return x + self.mix(self.spread(x))


def twice(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Repeat every cell twice along both sides, and cut what exceeds the shape of ``like``."""
    doubled = functional.interpolate(x, scale_factor=2.0, mode="nearest")
    return doubled[..., : like.shape[-2], : like.shape[-1]]
