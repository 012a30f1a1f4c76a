"""ToFloat: converts uint8 images to float32."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ToFloat(nn.Module):
    """Converts a (3, H, W) uint8 image in 0..255, or a batch of them, to a new float32 image in 0..1."""

    whole_batch = True

    def forward(self, image: Tensor) -> Tensor:
        return image.to(torch.float32, copy=True).div_(255)
