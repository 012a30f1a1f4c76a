"""Generalised mean pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.plugins.full_precision import full_precision


class GeM(nn.Module):
    """The p-th root of the mean of the p-th powers (Radenovic et al., 2018): (B, C, H, W) to (B, C).

    p = 1 is the average of the positive part; as p grows it goes to the maximum. Values below `eps` count as `eps`. A
    learnt p is put back between 1 and 64 before each use.

    Args:
        p: the exponent it starts from, 1 to 64.
        learn: False keeps p.
        eps: smallest value, above 0.
    """

    def __init__(self, p: float = 3.0, learn: bool = True, eps: float = 1e-6) -> None:
        super().__init__()
        if not 1 <= p <= 64 or eps <= 0:
            raise VireidError(f'p is {p} and eps is {eps}', allowed='p from 1 to 64, eps above 0')
        self.p = nn.Parameter(torch.tensor(float(p)), requires_grad=learn)
        self.eps = eps

    def forward(self, cells: Tensor) -> Tensor:
        self.p.data.clamp_(1, 64)  # past autograd: one forward may pool several times
        # powers of half-precision values overflow and vanish
        with full_precision(cells):
            positive = cells.to(torch.promote_types(cells.dtype, torch.float32)).clamp_min(self.eps)
            largest = positive.detach().amax(dim=(2, 3), keepdim=True)  # else a high power of a small value is 0
            mean = ((positive / largest) ** self.p).mean(dim=(2, 3))
            return largest[:, :, 0, 0] * mean ** (1 / self.p)
