"""StripeEmbedding: a map's horizontal stripes, pooled and concatenated, without parameters of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import Context, FeatureSpec
from vireid.plugins.necks.matching import one_input
from vireid.plugins.stripes import stripes


class StripeEmbedding(nn.Module):
    """The L2-normalized vectors of P stripes, from top to bottom. It lets you use a pretrained network as it is.

    Every stripe has the same weight in a cosine similarity. The stripes are those of PCB (Sun et al., 2018,
    arXiv 1711.09349).

    Args:
        inputs: one joint map.
        build_part: builds the pooling.
        parts: number of stripes P, from 1 to the number of rows of the map.
        pool: pooling of a stripe: a name in `poolings`, or a config.

    Raises:
        VireidError: if the input is not one map, or has fewer rows than `parts`.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        build_part: BuildPart,
        parts: Annotated[int, Ge(1)] = 6,
        pool: Annotated[str | dict, Component('poolings')] = 'Average',
    ) -> None:
        super().__init__()
        spec = one_input('StripeEmbedding', inputs, 'map', 'read a stage of the backbone')
        if spec.size is not None:
            stripes(spec.size[0], parts)  # raises before any data is read
        self.parts = parts
        self.pool = build_part('poolings', pool, 'pool')
        self.output = FeatureSpec(parts * spec.channels)

    def forward(self, feature: Tensor, context: Context) -> Tensor:
        rows = stripes(feature.shape[2], self.parts)
        vectors = [self.pool(feature[:, :, first:last]) for first, last in rows]  # P of (B, C)
        return torch.cat([nn.functional.normalize(vector, dim=1) for vector in vectors], dim=1)  # (B, P C)
