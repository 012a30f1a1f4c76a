"""A mix of average and max pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.errors import WrongValue


class Mixed(nn.Module):
    """`share` * maximum + (1 - `share`) * average (Lee et al., 2016, arXiv 1509.08985): (B, C, H, W) to (B, C).

    Args:
        share: weight of the maximum, 0 to 1; the initial weight if it is learned.
        learn: True learns the share through a sigmoid, so it must not start at 0 or 1.

    Raises:
        WrongValue: if `share` is out of range.
    """

    def __init__(self, share: float = 0.5, learn: bool = False) -> None:
        super().__init__()
        if not 0 <= share <= 1 or (learn and share in (0, 1)):
            raise WrongValue(f'share is {share}', allowed='0 to 1' + (', both exclusive, to learn it' if learn else ''))
        self.fixed = None if learn else float(share)
        if learn:
            self.logit = nn.Parameter(torch.logit(torch.tensor(float(share))))

    @property
    def share(self) -> Tensor | float:
        """The weight of the maximum."""
        return torch.sigmoid(self.logit) if self.fixed is None else self.fixed

    def forward(self, cells: Tensor) -> Tensor:
        return self.share * cells.amax(dim=(2, 3)) + (1 - self.share) * cells.mean(dim=(2, 3))
