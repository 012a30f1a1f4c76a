"""GlobalHead: pooling, optional reduction, BNNeck, classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import FeatureSpec, HeadOutput
from vireid.plugins.heads.branch import Branch, Place


class GlobalHead(nn.Module):
    """One vector per image, classified behind a BNNeck (Luo et al., 2019).

    Metric losses see the vector before the BatchNorm, the classifier the one after it.

    Args:
        inputs: one joint map, which is pooled, or vector.
        num_identities: classes K.
        build_part: builds the pooling.
        pool: how a map is pooled: a name among `poolings`, or a config of one; None is `Average`. A vector takes none.
        channels: length the vector is reduced to by a linear layer; None keeps it.
        bnneck: False classifies the vector itself.
        embedding: which vector is used at test time, `before` or `after` the BatchNorm.
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
        if len(inputs) != 1:
            raise VireidError(
                f'GlobalHead reads one feature and was given {len(inputs)}', todo='fuse them with a neck first'
            )
        (spec,) = inputs
        if spec.kind == 'vector' and pool is not None:
            raise VireidError(
                f'pool is {pool!r} and the head reads a vector, which is not pooled', todo='take pool away'
            )
        self.pool = build_part('poolings', pool or 'Average', 'pool') if spec.kind == 'map' else nn.Identity()
        self.branch = Branch(spec.channels, num_identities, channels, bnneck, embedding)
        self.embedding_dim = self.branch.dim

    def forward(self, feature: Tensor) -> HeadOutput:
        return self.branch(self.pool(feature))

    def embed(self, feature: Tensor) -> Tensor:
        """Returns the (B, embedding_dim) vector used at test time."""
        return self.branch.embed(self.pool(feature))
