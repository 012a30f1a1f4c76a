"""A fusion neck: levels of a network mixed by gates that look at all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vireid import FeatureSpec, VireidError


class BottleneckGatedFusion(nn.Module):
    """Mixes vectors of several levels, channel by channel, with gates from a bottleneck over all of them.

    With z = W2 relu(W1 [f_1, ..., f_L]), of L*C values, the output is sum_l softmax_l(z)_l * f_l: for each channel the
    levels' gates are positive and sum to 1.

    Args:
        inputs: two or more vectors of equal length C.
        reduction: W1 maps L*C channels to L*C / reduction.

    Raises:
        VireidError: if the inputs are no such vectors.
    """

    def __init__(self, inputs: Sequence[FeatureSpec], reduction: int = 16) -> None:
        super().__init__()
        if len(inputs) < 2 or len(set(inputs)) > 1 or inputs[0].kind != 'vector':
            raise VireidError(
                f'BottleneckGatedFusion reads {[str(spec) for spec in inputs]}',
                allowed='two or more vectors of one length, such as those of StageEmbedding',
            )
        self.output = inputs[0]
        width = len(inputs) * inputs[0].channels
        if not 1 <= reduction <= width:
            raise VireidError(f'reduction is {reduction}', allowed=f'1 to {width}')
        self.gate = nn.Sequential(
            nn.Linear(width, width // reduction), nn.ReLU(inplace=True), nn.Linear(width // reduction, width)
        )

    def forward(self, *features: Tensor, context: object) -> Tensor:
        """L vectors (B, C) -> (B, C)."""
        levels = torch.stack(features, dim=1)  # (B, L, C)
        gates = self.gate(levels.flatten(1)).view_as(levels).softmax(dim=1)
        return (gates * levels).sum(dim=1)
