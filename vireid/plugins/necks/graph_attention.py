"""GraphAttention: the cross-modality graph structured attention of DDAG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Lt
from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.necks.graph_layer import GraphLayer
from vireid.plugins.necks.matching import pooled_input


class GraphAttention(nn.Module):
    """Refines each image's vector with the images of its identity in both modalities.

    This is the CGSA of DDAG (Ye et al., ECCV 2020, arXiv 2007.09314): the concatenated heads of one graph attention
    layer, followed by an ELU. Unlike GLFM, it mixes the projected nodes and concatenates the heads. It needs
    identities, so it works only in training. An image that is the only one of its identity attends to itself.

    Args:
        inputs: one vector, or one map, which is pooled.
        build_part: builds the pooling.
        channels: length D of each head's output, at least 1; the output vector has length `num_heads` * D.
        num_heads: number of attention heads, at least 1.
        negative_slope: negative slope of the LeakyReLU.
        dropout: dropout rate of the nodes and of the attention, 0 to 1 (exclusive).
        pool: pooling of a map: a name in `poolings`, or a config; None means `Average`. Leave it None for a vector.

    Raises:
        Mismatch: if there is not exactly one input, or `pool` is set for a vector; when called, if the identities are
            unknown.
    """

    train_only = True

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        build_part: BuildPart,
        channels: Annotated[int, Ge(1)] = 512,
        num_heads: Annotated[int, Ge(1)] = 4,
        negative_slope: float = 0.2,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.2,
        pool: Annotated[str | dict | None, Component('poolings')] = None,
    ) -> None:
        super().__init__()
        spec, self.pool = pooled_input('GraphAttention', inputs, build_part, pool)
        self.layer = GraphLayer(spec.channels, channels, num_heads, negative_slope, dropout)
        self.output = FeatureSpec(num_heads * channels)

    def forward(self, feature: Tensor, context: Context) -> Tensor:
        if context.identities is None:
            raise Mismatch(
                'GraphAttention needs identities, which are available only in training',
                todo='keep it out of the embedding',
            )
        heads = self.layer(self.pool(feature), context.identities)  # (M, B, D)
        return nn.functional.elu(heads.transpose(0, 1).flatten(1))  # (B, M * D)
