"""VectorHead: passes a vector to metric losses as it is."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vireid.core.types import FeatureSpec, HeadOutput
from vireid.plugins.necks.matching import one_input


class VectorHead(nn.Module):
    """A head without layers: its feature and its embedding are the vector that it reads.

    It has no classifier, so it is for losses that read the feature alone.

    Args:
        inputs: one joint vector.

    Raises:
        Mismatch: if the input is not one vector.
    """

    def __init__(self, inputs: Sequence[FeatureSpec]) -> None:
        super().__init__()
        self.embedding_dim = one_input('VectorHead', inputs, 'vector', 'pool a map with a neck first').channels

    def forward(self, vector: Tensor) -> HeadOutput:
        return HeadOutput(feature=vector)  # (B, C)

    def embed(self, vector: Tensor) -> Tensor:
        """Returns the (B, C) vector."""
        return vector
