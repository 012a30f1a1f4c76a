"""Generalized mean pooling."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from vireid.plugins.full_precision import full_precision


class GeM(nn.Module):
    """The p-th root of the mean of p-th powers (Radenovic et al., 2018, arXiv 1711.02512): (B, C, H, W) to (B, C).

    With p = 1 it is the average of the positive part; as p grows, it approaches the maximum. Values are clamped to at
    least `eps`. A learned p is clamped to 1 to 64 before each use.

    Args:
        p: initial exponent, 1 to 64.
        learn: False keeps p fixed.
        eps: smallest value, above 0.
    """

    def __init__(
        self, p: Annotated[float, Ge(1), Le(64)] = 3.0, learn: bool = True, eps: Annotated[float, Gt(0)] = 1e-6
    ) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(float(p)), requires_grad=learn)
        self.eps = eps

    def forward(self, cells: Tensor) -> Tensor:
        self.p.data.clamp_(1, 64)  # outside autograd, since one forward pass may pool several times
        # powers overflow and underflow in half precision
        with full_precision(cells):
            positive = cells.to(torch.promote_types(cells.dtype, torch.float32)).clamp_min(self.eps)
            # scaled by the maximum, as a high power of a small value would underflow to 0
            largest = positive.detach().amax(dim=(2, 3), keepdim=True)
            mean = ((positive / largest) ** self.p).mean(dim=(2, 3))
            return largest[:, :, 0, 0] * mean ** (1 / self.p)
