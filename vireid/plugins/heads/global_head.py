"""GlobalHead: pooling, optional reduction, BNNeck, classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import FeatureSpec, HeadOutput
from vireid.plugins.heads.branch import Branch, Place
from vireid.plugins.necks.matching import pooled_input


class GlobalHead(nn.Module):
    """One vector per image, classified after a BNNeck (Luo et al., 2019, arXiv 1903.07071).

    Metric losses use the vector before the BatchNorm; the classifier uses the one after it.

    Args:
        inputs: one joint map, which is pooled, or one vector.
        num_identities: number of classes K.
        build_part: builds the pooling.
        pool: pooling of a map: a name in `poolings`, or a config; None means `Average`. Leave it None for a vector.
        channels: length after a linear reduction; None disables it.
        bnneck: False removes the BatchNorm.
        embedding: which vector to use at test time, `before` or `after` the BatchNorm.

    Raises:
        VireidError: if there is not exactly one input, `pool` is set for a vector, or `channels` is below 1.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        num_identities: int,
        build_part: BuildPart,
        pool: Annotated[str | dict | None, Component('poolings')] = None,
        channels: int | None = None,
        bnneck: bool = True,
        embedding: Place = 'after',
    ) -> None:
        super().__init__()
        spec, self.pool = pooled_input('GlobalHead', inputs, build_part, pool)
        self.branch = Branch(spec.channels, num_identities, channels, bnneck, embedding)
        self.embedding_dim = self.branch.dim

    def forward(self, feature: Tensor) -> HeadOutput:
        return self.branch(self.pool(feature))  # (B, embedding_dim), (B, K)

    def embed(self, feature: Tensor) -> Tensor:
        """Returns the (B, embedding_dim) vector used at test time."""
        return self.branch.embed(self.pool(feature))
