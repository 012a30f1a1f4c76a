"""GatedFusion: a weighted mean of features, with weights computed per image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec
from vireid.plugins.necks.matching import require_vectors


class GatedFusion(nn.Module):
    """Mixes features per channel, with gates computed from all of them (after Arevalo et al., 2017, arXiv 1702.01992).

    With S the concatenation of the L inputs, the gates are the softmax over inputs of W S + b, with one gate per input
    and channel. The output is the sum of gate * input. W and b are initialized to zero, so the output starts as the
    mean.

    Args:
        inputs: two or more vectors of the same length C.

    Raises:
        Mismatch: if the inputs are not two or more vectors of the same length.
    """

    def __init__(self, inputs: Sequence[FeatureSpec]) -> None:
        super().__init__()
        require_vectors('GatedFusion', inputs)
        width = len(inputs) * inputs[0].channels
        self.gate = nn.Linear(width, width)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        self.output = inputs[0]

    def forward(self, *features: Tensor, context: Context) -> Tensor:
        levels = torch.stack(features, dim=1)  # (B, L, C)
        gates = self.gate(levels.flatten(1)).unflatten(1, levels.shape[1:]).softmax(dim=1)  # (B, L, C)
        return (gates * levels).sum(dim=1)  # (B, C)
