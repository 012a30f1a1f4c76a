"""Branch: computes the metric feature, logits and embedding of one pooled vector."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from vireid.core.types import HeadOutput
from vireid.errors import WrongValue

Place = Literal['before', 'after']


class Branch(nn.Module):
    """Optional reduction, optional BNNeck (Luo et al., 2019, arXiv 1903.07071), classifier.

    Metric losses use the vector before the BatchNorm; the classifier uses the one after it.

    Args:
        in_channels: length of the vector.
        num_identities: number of classes K.
        channels: length after a linear reduction (a 1x1 convolution on a pooled vector); None disables it.
        bnneck: False removes the BatchNorm.
        embedding: which vector to use at test time, `before` or `after` the BatchNorm.

    Raises:
        WrongValue: if `channels` is below 1.
    """

    def __init__(
        self, in_channels: int, num_identities: int, channels: int | None, bnneck: bool, embedding: Place
    ) -> None:
        super().__init__()
        if channels is not None and channels < 1:
            raise WrongValue(f'channels is {channels}', allowed='an integer of at least 1, or None to keep the length')
        self.dim = channels or in_channels
        self.place = embedding
        self.reduction = nn.Linear(in_channels, channels, bias=False) if channels else nn.Identity()
        self.bnneck: nn.Module = nn.Identity()
        if bnneck:
            self.bnneck = nn.BatchNorm1d(self.dim)
            self.bnneck.bias.requires_grad_(False)  # type: ignore[union-attr]
        self.classifier = nn.Linear(self.dim, num_identities, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, vector: Tensor) -> HeadOutput:
        before = self.reduction(vector)  # (B, C)
        return HeadOutput(feature=before, logits=self.classifier(self.bnneck(before)))  # (B, K)

    def embed(self, vector: Tensor) -> Tensor:
        """Returns the (B, dim) vector used at test time."""
        before = self.reduction(vector)
        return before if self.place == 'before' else self.bnneck(before)
