"""Designs of the segmenter's network: how a frame becomes feature maps on the grid of the outputs.

Each has a ``stride`` (pixels along a side of a cell of the outputs), a ``total_stride`` (along a
side of its coarsest cell) and an ``outputs`` (channels). What each is worth, and what it costs, is
measured by ``bench/designs.py``; the table is in docs/segmenter.md.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from latticewatch_models.blocks import (
    ResidualBlock,
    SeparableBlock,
    WideBlock,
    convolution,
    separable,
    stem,
    twice,
)

#: Residual blocks of `Eighth`: about as many operations as the pyramid has in all.
_EIGHTH_BLOCKS = 4

#: Dilations of the blocks of `Dilated`: the far cells are reached and the near ones come last.
_DILATIONS = (1, 2, 4, 1, 2, 4, 1, 1)


class Trunk(nn.Module):
    """Frame (n, 1, H, W) -> feature maps (n, outputs, H / stride, W / stride)."""

    stride: int
    total_stride: int
    outputs: int


class Pyramid(Trunk):
    """Residual blocks at three resolutions, joined as in a U-Net by sums.

    After Lin et al., "Feature Pyramid Networks", CVPR (2017). The finest resolution is that of the
    outputs, ``1 / stride`` of the frame's; the others are half and a quarter of it.
    """

    def __init__(
        self,
        width: int,
        deep: int,
        stride: int,
        block: Callable[[int], nn.Module] = ResidualBlock,
        step: Callable[[int, int, int], nn.Module] = convolution,
    ) -> None:
        super().__init__()
        self.stride, self.total_stride, self.outputs = stride, 4 * stride, width
        self.stem = stem(width, stride)
        self.encode4 = block(width)
        self.encode8 = nn.Sequential(step(width, deep, 2), block(deep))
        self.encode16 = nn.Sequential(step(deep, deep, 2), block(deep))
        self.lateral8 = nn.Conv2d(deep, deep, 1)
        self.decode8 = block(deep)
        self.lateral4 = nn.Conv2d(deep, width, 1)
        self.decode4 = block(width)

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        """Frames in, feature maps out."""
        fine = self.encode4(self.stem(frame))
        middle = self.encode8(fine)
        coarse = self.encode16(middle)
        middle = self.decode8(middle + twice(self.lateral8(coarse), middle))
        features: torch.Tensor = self.decode4(fine + twice(self.lateral4(middle), fine))
        return features


class UNet(Trunk):
    """The plain U-Net at full resolution (Ronneberger et al., MICCAI (2015)), three levels.

    Two convolutions to a level and way; the ways are joined by concatenation; `width` channels at
    full resolution, twice and four times as many below.
    """

    def __init__(self, width: int, deep: int) -> None:
        super().__init__()
        del deep  # follows from the width
        self.stride, self.total_stride, self.outputs = 1, 4, width
        self.encode1 = _two(1, width)
        self.encode2 = _two(width, 2 * width)
        self.encode4 = _two(2 * width, 4 * width)
        self.decode2 = _two(6 * width, 2 * width)
        self.decode1 = _two(3 * width, width)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        """Frames in, feature maps out."""
        fine = self.encode1(frame)
        middle = self.encode2(self.pool(fine))
        coarse = self.encode4(self.pool(middle))
        middle = self.decode2(torch.cat([middle, twice(coarse, middle)], 1))
        features: torch.Tensor = self.decode1(torch.cat([fine, twice(middle, fine)], 1))
        return features


class Dilated(Trunk):
    """A quarter of the resolution throughout: dilated depthwise 5x5 convolutions, no pooling."""

    def __init__(self, width: int, deep: int) -> None:
        super().__init__()
        del deep  # there is one resolution
        self.stride, self.total_stride, self.outputs = 4, 4, width
        self.stem = stem(width, 4)
        self.blocks = nn.Sequential(*(WideBlock(width, dilation) for dilation in _DILATIONS))

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        """Frames in, feature maps out."""
        features: torch.Tensor = self.blocks(self.stem(frame))
        return features


class Eighth(Trunk):
    """Most of the work at an eighth of the resolution, where a receptive field is cheap.

    At a quarter there is the stem alone, and one convolution that joins it to what came of it.
    """

    def __init__(self, width: int, deep: int) -> None:
        super().__init__()
        self.stride, self.total_stride, self.outputs = 4, 8, width
        self.stem = stem(width, 4)
        self.deepen = nn.Sequential(
            convolution(width, deep, 2), *(ResidualBlock(deep) for _ in range(_EIGHTH_BLOCKS))
        )
        self.lateral = nn.Conv2d(deep, width, 1)
        self.join = convolution(width, width)

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        """Frames in, feature maps out."""
        fine = self.stem(frame)
        features: torch.Tensor = self.join(fine + twice(self.lateral(self.deepen(fine)), fine))
        return features


def _two(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(convolution(inputs, outputs), convolution(outputs, outputs))


#: Designs by name; each is called with the fine and the deep width.
DESIGNS: dict[str, Callable[[int, int], Trunk]] = {
    "quarter": lambda width, deep: Pyramid(width, deep, 4),
    "half": lambda width, deep: Pyramid(width, deep, 2),
    "separable": lambda width, deep: Pyramid(width, deep, 4, SeparableBlock, separable),
    "eighth": Eighth,
    "dilated": Dilated,
    "unet": UNet,
}
