"""Sum: adds features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec
from vireid.plugins.necks.matching import common_size, require_equal


class Sum(nn.Module):
    """Adds features: vectors of the same length, or maps of the same shape.

    Args:
        inputs: two or more joint features.
        normalize: True L2-normalizes the sum along the channels, as MLFM does.

    Raises:
        Mismatch: if there are fewer than two inputs, or they differ in kind, channels or size.
    """

    def __init__(self, inputs: Sequence[FeatureSpec], normalize: bool = False) -> None:
        super().__init__()
        require_equal('Sum', inputs)
        self.normalize = normalize
        self.output = replace(inputs[0], size=common_size('Sum', inputs))

    def forward(self, *features: Tensor, context: Context) -> Tensor:
        total = torch.stack(features).sum(dim=0)  # (B, C, ...)
        return nn.functional.normalize(total, dim=1) if self.normalize else total
