"""ResizeScaled: resizes to a multiple of the network's input size."""

from __future__ import annotations

from torchvision.transforms.v2 import Resize


class ResizeScaled(Resize):
    """Resizes to `scale` times the network's input size, which leaves room for a random crop.

    Args:
        size: (height, width) of the network's input, in pixels.
        scale: at least 1; sides are rounded to whole pixels.

    Raises:
        ValueError: if `scale` is below 1.
    """

    def __init__(self, size: tuple[int, int], scale: float) -> None:
        if scale < 1:
            raise ValueError(f'scale is {scale}, but must be at least 1')
        super().__init__((round(size[0] * scale), round(size[1] * scale)))
