"""L1: the mean absolute value, for differences of images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.types import HeadOutput


class L1(nn.Module):
    """The mean absolute value of the feature, summed over parts; with `MapHead`, the L1 distance between two maps."""

    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        feature = output.feature
        values = feature.to(torch.promote_types(feature.dtype, torch.float32))
        parts = 1 if values.ndim == 2 else values.shape[1]
        return parts * values.abs().mean()  # ()
