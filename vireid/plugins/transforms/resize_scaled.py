"""Resizing to a multiple of what the network sees."""

from __future__ import annotations

from torchvision.transforms.v2 import Resize


class ResizeScaled(Resize):
    """Resizes to `scale` times the network's input, so that a random crop of the input's size has room to move.

    Args:
        size: (height, width) of the network's input, pixels.
        scale: at least 1; sides are rounded to whole pixels.
    """

    def __init__(self, size: tuple[int, int], scale: float) -> None:
        if scale < 1:
            raise ValueError(f'scale is {scale}, and a crop needs at least 1')
        super().__init__((round(size[0] * scale), round(size[1] * scale)))
