"""GlobalHead: pooling, optional reduction, BNNeck, classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import FeatureSpec, HeadOutput


class GlobalHead(nn.Module):
    """One vector per image, classified behind a BNNeck (Luo et al., 2019).

    Metric losses see the vector before the BatchNorm, the classifier the one after it.

    Args:
        inputs: one joint map, which is pooled, or vector.
        num_identities: classes K.
        pool: `avg` or `max`, for maps.
        channels: length the vector is reduced to by a linear layer; None keeps it.
        bnneck: False classifies the vector itself.
        embedding: which vector is used at test time, `before` or `after` the BatchNorm.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        num_identities: int,
        pool: Literal['avg', 'max'] = 'avg',
        channels: int | None = None,
        bnneck: bool = True,
        embedding: Literal['before', 'after'] = 'after',
    ) -> None:
        super().__init__()
        if len(inputs) != 1:
            raise VireidError(
                f'GlobalHead reads one feature and was given {len(inputs)}', todo='fuse them with a neck first'
            )
        self.spec, self.pool, self.embedding = inputs[0], pool, embedding
        self.embedding_dim = channels or self.spec.channels
        self.reduction = nn.Linear(self.spec.channels, channels, bias=False) if channels else nn.Identity()
        self.bnneck: nn.Module = nn.Identity()
        if bnneck:
            self.bnneck = nn.BatchNorm1d(self.embedding_dim)
            self.bnneck.bias.requires_grad_(False)  # type: ignore[union-attr]
        self.classifier = nn.Linear(self.embedding_dim, num_identities, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, feature: Tensor) -> HeadOutput:
        before = self._vector(feature)  # (B, C)
        return HeadOutput(feature=before, logits=self.classifier(self.bnneck(before)))  # (B, K)

    def embed(self, feature: Tensor) -> Tensor:
        """Returns the (B, embedding_dim) vector used at test time."""
        before = self._vector(feature)
        return before if self.embedding == 'before' else self.bnneck(before)

    def _vector(self, feature: Tensor) -> Tensor:
        if self.spec.kind == 'map':
            feature = feature.mean(dim=(2, 3)) if self.pool == 'avg' else feature.amax(dim=(2, 3))
        return self.reduction(feature)
