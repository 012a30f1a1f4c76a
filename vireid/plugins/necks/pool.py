"""Pool: one vector per row from a map, without parameters of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import Context, FeatureSpec
from vireid.plugins.necks.matching import require_maps


class Pool(nn.Module):
    """Pools a map. Name it in the embedding to compare the vector itself, beside that of a head.

    Args:
        inputs: one joint map.
        build_part: builds the pooling.
        pool: a name in `poolings`, or a config.

    Raises:
        Mismatch: if the input is not one map.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        build_part: BuildPart,
        pool: Annotated[str | dict, Component('poolings')] = 'Average',
    ) -> None:
        super().__init__()
        (spec,) = require_maps('Pool', inputs, 1)
        self.pool = build_part('poolings', pool, 'pool')
        self.output = FeatureSpec(spec.channels)

    def forward(self, feature: Tensor, context: Context) -> Tensor:
        return self.pool(feature)  # (B, C)
