"""StageEmbedding: one vector per image from a stage's map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import Context, FeatureSpec
from vireid.plugins.necks.matching import require_one


class StageEmbedding(nn.Module):
    """Pooling and a fully connected layer: s_i(x) of TFFN section 2.1, which pools by the average.

    Args:
        inputs: the one map it reads.
        build_part: builds the pooling.
        channels: length C of the vector; the paper's is 1024.
        pool: a name among `poolings`, or a config of one.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        build_part: BuildPart,
        channels: int = 1024,
        pool: Annotated[str | dict, Component('poolings')] = 'Average',
    ) -> None:
        super().__init__()
        (spec,) = require_one('StageEmbedding', inputs)
        if channels < 1:
            raise VireidError(f'channels is {channels}', allowed='an integer of at least 1')
        if spec.kind != 'map':
            raise VireidError('StageEmbedding reads a map and was given a vector', todo='read a stage of the backbone')
        self.pool = build_part('poolings', pool, 'pool')
        self.fc = nn.Linear(spec.channels, channels)
        self.output = FeatureSpec(channels)

    def forward(self, stage: Tensor, context: Context) -> Tensor:
        return self.fc(self.pool(stage))  # (B, C)
