"""Concat: features side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import Context, FeatureSpec
from vireid.plugins.necks.matching import describe, require_one_kind


class Concat(nn.Module):
    """Concatenates features along the channels: vectors, or maps of one size.

    Args:
        inputs: two or more.
    """

    def __init__(self, inputs: Sequence[FeatureSpec]) -> None:
        super().__init__()
        require_one_kind('Concat', inputs)
        if len({spec.size for spec in inputs}) > 1:
            raise VireidError(
                f'Concat was given maps of different sizes: {describe(inputs)}',
                todo='make vectors of them first, e.g. with StageEmbedding',
            )
        self.output = FeatureSpec(sum(spec.channels for spec in inputs), inputs[0].kind, size=inputs[0].size)

    def forward(self, *features: Tensor, context: Context) -> Tensor:
        return torch.cat(features, dim=1)  # (B, sum of C, ...)
