"""VectorHead: passes a vector to metric losses as it is."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vireid.core.types import FeatureSpec, HeadOutput
from vireid.errors import Mismatch


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
        if len(inputs) != 1 or inputs[0].kind != 'vector':
            given = ', '.join(f'{spec.kind} of {spec.channels}' for spec in inputs)
            raise Mismatch(f'VectorHead got: {given}', allowed='one vector', todo='pool a map with a neck first')
        self.embedding_dim = inputs[0].channels

    def forward(self, vector: Tensor) -> HeadOutput:
        return HeadOutput(feature=vector)  # (B, C)

    def embed(self, vector: Tensor) -> Tensor:
        """Returns the (B, C) vector."""
        return vector
