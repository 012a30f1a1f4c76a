"""BottleneckHead: AlignGAN's two branches, one for the classifier and one for triplets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Lt
from torch import Tensor, nn

from vireid.core.types import FeatureSpec, HeadOutput
from vireid.plugins.necks.matching import one_input


class BottleneckHead(nn.Module):
    """Averages a map and reduces it twice: for a classifier, and for metric losses (AlignGAN, ICCV 2019).

    AlignGAN is Wang et al., arXiv 1910.05839.

    The classifier reads dropout, a linear layer, BatchNorm and LeakyReLU; metric losses read a second linear layer.
    The embedding is the average, of neither branch.

    Args:
        inputs: one joint map.
        num_identities: number of classes K.
        channels: length after either reduction.
        dropout: probability of dropout before the classifier's branch.
        slope: negative slope of the LeakyReLU.

    Raises:
        Mismatch: if there is not exactly one input, or it is not a map.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        num_identities: int,
        channels: Annotated[int, Ge(1)] = 256,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
        slope: Annotated[float, Ge(0)] = 0.1,
    ) -> None:
        super().__init__()
        self.embedding_dim = one_input('BottleneckHead', inputs, 'map', 'read a stage of the backbone').channels
        self.dropout = nn.Dropout(dropout)
        self.reduce = nn.Linear(self.embedding_dim, channels)
        self.norm = nn.BatchNorm1d(channels)
        self.activation = nn.LeakyReLU(slope)
        self.classifier = nn.Linear(channels, num_identities)
        self.project = nn.Linear(self.embedding_dim, channels)
        nn.init.kaiming_normal_(self.reduce.weight, mode='fan_out')
        nn.init.normal_(self.norm.weight, 1.0, 0.02)
        nn.init.normal_(self.classifier.weight, std=0.001)
        for layer in (self.reduce, self.classifier):
            nn.init.zeros_(layer.bias)

    def forward(self, feature: Tensor) -> HeadOutput:
        pooled = self.embed(feature)
        reduced = self.activation(self.norm(self.reduce(self.dropout(pooled))))  # (B, channels)
        return HeadOutput(self.project(pooled), self.classifier(reduced))

    def embed(self, feature: Tensor) -> Tensor:
        """Returns the (B, embedding_dim) average over positions."""
        return feature.mean(dim=(2, 3))
