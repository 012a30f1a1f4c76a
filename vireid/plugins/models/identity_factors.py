"""IdentityFactors: the identity feature from a prototype and a style (Hi-CMD)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.types import HeadOutput


class IdentityFactors(nn.Module):
    """Joins shape and style, embeds and classifies them (hierarchical feature learning of Hi-CMD, arXiv 1912.01230).

    The shape is the average of a network's map of the prototype. The joined vector is a p / |p| followed by
    (1 - a) s / |s| for a shape p and a style s, with a learned weight a that starts at 0.5 and counts as 0 to 1. A
    linear layer, BatchNorm and, in training, dropout follow. A classifier and a linear layer for metric losses read the
    result.

    Args:
        network: maps (B, C, h, w) prototypes to a map.
        shape: channels of that map.
        style: length of the style.
        num_identities: number of classes K.
        channels: length of the embedding.
        metric: length of the vector for metric losses.
        dropout: dropout rate, 0 to 1 (exclusive).
    """

    def __init__(
        self,
        network: nn.Module,
        shape: int,
        style: int,
        num_identities: int,
        channels: int,
        metric: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.mix = nn.Parameter(torch.tensor(0.5))
        self.linear, self.norm = nn.Linear(shape + style, channels), nn.BatchNorm1d(channels)
        self.dropout = nn.Dropout(dropout)
        self.metric, self.classifier = nn.Linear(channels, metric), nn.Linear(channels, num_identities)
        for layer in (self.linear, self.metric):
            nn.init.kaiming_normal_(layer.weight, mode='fan_out')
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.norm.weight, 1.0, 0.02)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)

    def shape(self, prototypes: Tensor) -> Tensor:
        """Returns the (B, shape) vectors of (B, C, h, w) prototypes, each of length 1."""
        return nn.functional.normalize(self.network(prototypes).mean(dim=(2, 3)), dim=1)

    def join(self, shapes: Tensor, styles: Tensor) -> Tensor:
        """Returns (B, shape + style) vectors from shapes of length 1 and styles of any length."""
        mix = self.mix.clamp(0, 1)
        return torch.cat([mix * shapes, (1 - mix) * nn.functional.normalize(styles, dim=1)], dim=1)

    def embed(self, joined: Tensor) -> Tensor:
        """Returns the (B, channels) embeddings of joined vectors."""
        return self.norm(self.linear(joined))

    def forward(self, joined: Tensor) -> HeadOutput:
        """Returns (B, metric) features and (B, K) logits of joined vectors."""
        vector = self.dropout(self.embed(joined))
        return HeadOutput(feature=self.metric(vector), logits=self.classifier(vector))
