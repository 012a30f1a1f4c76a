"""ResizeScaled: resizes to a multiple of the network's input size."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torchvision.transforms.v2 import Resize


class ResizeScaled(Resize):
    """Resizes to `scale` times the network's input size, which leaves room for a random crop.

    Args:
        size: (height, width) of the network's input, in pixels.
        scale: at least 1; sides are rounded to whole pixels.
    """

    def __init__(self, size: tuple[int, int], scale: Annotated[float, Ge(1)]) -> None:
        super().__init__((round(size[0] * scale), round(size[1] * scale)))
