"""Average pooling."""

from __future__ import annotations

from torch import Tensor, nn


class Average(nn.Module):
    """The mean over a map's positions: (B, C, H, W) to (B, C)."""

    def forward(self, cells: Tensor) -> Tensor:
        return cells.mean(dim=(2, 3))
