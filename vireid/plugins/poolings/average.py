"""Average pooling."""

from __future__ import annotations

from torch import Tensor, nn


class Average(nn.Module):
    """The mean over all positions: maps (B, C, H, W) to (B, C)."""

    def forward(self, cells: Tensor) -> Tensor:
        return cells.mean(dim=(2, 3))
