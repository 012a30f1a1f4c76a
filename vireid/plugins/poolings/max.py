"""Max pooling."""

from __future__ import annotations

from torch import Tensor, nn


class Max(nn.Module):
    """The maximum over all positions, per channel: maps (B, C, H, W) to (B, C)."""

    def forward(self, cells: Tensor) -> Tensor:
        return cells.amax(dim=(2, 3))
