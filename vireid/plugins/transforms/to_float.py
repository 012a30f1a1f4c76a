"""From uint8 to float."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ToFloat(nn.Module):
    """Turns (3, H, W) uint8 in 0..255 into float32 in 0..1."""

    def forward(self, image: Tensor) -> Tensor:
        return image.to(torch.float32, copy=True).div_(255)
