"""Sum: features on top of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec
from vireid.plugins.necks.matching import common_size, require_equal


class Sum(nn.Module):
    """Adds features up: vectors of one length, or maps of one shape.

    Args:
        inputs: two or more.
        normalize: True makes the sum's length along the channels 1, as MLFM does.
    """

    def __init__(self, inputs: Sequence[FeatureSpec], normalize: bool = False) -> None:
        super().__init__()
        require_equal('Sum', inputs)
        self.normalize = normalize
        self.output = replace(inputs[0], size=common_size('Sum', inputs))

    def forward(self, *features: Tensor, context: Context) -> Tensor:
        total = torch.stack(features).sum(dim=0)  # (B, C, ...)
        return nn.functional.normalize(total, dim=1) if self.normalize else total
