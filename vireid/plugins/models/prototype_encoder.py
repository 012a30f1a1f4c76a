"""PrototypeEncoder: the map of an image's shape and clothes, without pose and illumination (Hi-CMD)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vireid.errors import Mismatch, WrongValue
from vireid.plugins.models.convolution_block import ConvolutionBlock, ResidualBlock


class PrototypeEncoder(nn.Module):
    """Encodes an image as a prototype of a quarter of its size (Hi-CMD; Choi et al., CVPR 2020, arXiv 1912.01230).

    Four 3 x 3 convolutions, the first and the last with stride 2, have 1, 2, 2 and 4 times `width` channels; four
    residual blocks and an atrous pyramid follow: a 1 x 1 convolution and three 3 x 3 convolutions of different
    dilation, each with half the channels, are concatenated and fused to 8 `width` channels. Each convolution is
    followed by an instance norm.

    Args:
        channels: image channels.
        width: channels of the first convolution, at least 1.
        dilations: the dilations of the pyramid. The prototype must have more rows and columns than each.

    Raises:
        WrongValue: if `width` or a dilation is below 1.
    """

    def __init__(self, channels: int = 3, width: int = 32, dilations: Sequence[int] = (3, 6, 9)) -> None:
        super().__init__()
        if width < 1 or not dilations or min(dilations) < 1:
            raise WrongValue(f'width is {width}, dilations is {tuple(dilations)}', allowed='integers of at least 1')
        self.dilations = tuple(dilations)
        half, full = 2 * width, 4 * width
        self.stem = nn.Sequential(
            _block(channels, width, 3, stride=2), _block(width, half, 3), _block(half, half, 3),
            _block(half, full, 3, stride=2),
        )  # fmt: skip
        norm = nn.InstanceNorm2d
        self.residual = nn.Sequential(*(ResidualBlock(full, (norm(full), norm(full))) for _ in range(4)))
        self.point = _block(full, half, 1, activation=False)
        self.dilated = nn.ModuleList(
            nn.Sequential(_block(full, half, 1), _block(half, half, 3, dilation=dilation, activation=False))
            for dilation in dilations
        )
        self.fuse = _block(half * (1 + len(self.dilations)), 2 * full, 1, activation=False)
        self.channels = 2 * full

    def forward(self, images: Tensor) -> Tensor:
        """Maps (B, C, H, W) images to (B, 8 width, H / 4, W / 4) prototypes.

        Raises:
            Mismatch: unless 4 divides H and W, and the prototype is larger than the dilations.
        """
        rows, columns = images.shape[2:]
        least = 4 * (max(self.dilations) + 1)
        if rows % 4 or columns % 4 or min(rows, columns) < least:
            raise Mismatch(
                f'the prototype encoder got images of {rows} x {columns}',
                allowed=f'multiples of 4, at least {least} with dilations {", ".join(map(str, self.dilations))}',
                todo='set images.size, or smaller model.dilations',
            )
        x = self.residual(self.stem(images))  # (B, 4 width, H / 4, W / 4)
        return self.fuse(torch.cat([self.point(x), *(branch(x) for branch in self.dilated)], dim=1))


def _block(
    inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, activation: bool = True
) -> ConvolutionBlock:
    return ConvolutionBlock(inputs, outputs, kernel, stride, dilation, nn.InstanceNorm2d(outputs), activation)
