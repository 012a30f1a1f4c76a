"""GraphAttention: the cross-modality graph structured attention of DDAG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import Context, FeatureSpec
from vireid.plugins.necks.graph_layer import GraphLayer
from vireid.plugins.necks.matching import require_one


class GraphAttention(nn.Module):
    """Refines each image's vector by the images of its identity, of both modalities (CGSA of Ye et al., ECCV 2020).

    The heads of one graph attention layer side by side, behind an ELU. Other than in GLFM, what is mixed are the
    projected nodes, and the heads are concatenated. It reads identities, so it works in training only. An image alone
    of its identity attends to itself.

    Args:
        inputs: one vector, or map, which is pooled.
        build_part: builds the pooling.
        channels: length D of each head's output; it makes a vector of `num_heads` * D.
        num_heads: independent attention heads.
        negative_slope: of the LeakyReLU.
        dropout: share of the nodes' values, and of the attention, that training drops; 0 to 1 (exclusive).
        pool: how a map is pooled: a name among `poolings`, or a config of one; None is `Average`. A vector takes none.
    """

    train_only = True

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        build_part: BuildPart,
        channels: int = 512,
        num_heads: int = 4,
        negative_slope: float = 0.2,
        dropout: float = 0.2,
        pool: Annotated[str | dict | None, Component('poolings')] = None,
    ) -> None:
        super().__init__()
        (spec,) = require_one('GraphAttention', inputs)
        if spec.kind == 'vector' and pool is not None:
            raise VireidError(
                f'pool is {pool!r} and GraphAttention reads a vector, which is not pooled', todo='take pool away'
            )
        self.pool = build_part('poolings', pool or 'Average', 'pool') if spec.kind == 'map' else nn.Identity()
        self.layer = GraphLayer(spec.channels, channels, num_heads, negative_slope, dropout)
        self.output = FeatureSpec(num_heads * channels)

    def forward(self, feature: Tensor, context: Context) -> Tensor:
        if context.identities is None:
            raise VireidError(
                'GraphAttention reads identities and there are none outside training',
                todo='keep it out of the embedding',
            )
        heads = self.layer(self.pool(feature), context.identities)  # (M, B, D)
        return nn.functional.elu(heads.transpose(0, 1).flatten(1))  # (B, M * D)
