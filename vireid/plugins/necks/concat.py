"""Concat: concatenates features along the channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec
from vireid.plugins.necks.matching import common_size, require_one_kind


class Concat(nn.Module):
    """Concatenates features along the channels: vectors, or maps of the same size.

    Args:
        inputs: two or more joint features.

    Raises:
        Mismatch: if there are fewer than two inputs, or they differ in kind or size.
    """

    def __init__(self, inputs: Sequence[FeatureSpec]) -> None:
        super().__init__()
        require_one_kind('Concat', inputs)
        channels = sum(spec.channels for spec in inputs)
        self.output = FeatureSpec(channels, inputs[0].kind, size=common_size('Concat', inputs))

    def forward(self, *features: Tensor, context: Context) -> Tensor:
        return torch.cat(features, dim=1)  # (B, sum of C, ...)
