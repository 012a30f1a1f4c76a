"""StageEmbedding: one vector per image from a stage's map."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import Context, FeatureSpec


class StageEmbedding(nn.Module):
    """Global average pooling and a fully connected layer: s_i(x) of TFFN section 2.1.

    Args:
        inputs: the one map it reads.
        channels: length C of the vector; the paper's is 1024.
    """

    def __init__(self, inputs: Sequence[FeatureSpec], channels: int = 1024) -> None:
        super().__init__()
        (spec,) = inputs
        if spec.kind != 'map':
            raise VireidError('StageEmbedding reads a map and was given a vector', todo='read a stage of the backbone')
        self.fc = nn.Linear(spec.channels, channels)
        self.output = FeatureSpec(channels)

    def forward(self, stage: Tensor, context: Context) -> Tensor:
        return self.fc(stage.mean(dim=(2, 3)))  # (B, C)
