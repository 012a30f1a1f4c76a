"""StageEmbedding: one vector per image from a stage's map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import Context, FeatureSpec
from vireid.plugins.necks.matching import one_input


class StageEmbedding(nn.Module):
    """Pooling and a fully connected layer: s_i(x) in TFFN section 2.1, which uses average pooling.

    TFFN is Cheng et al., ICIP 2021, doi 10.1109/ICIP42928.2021.9506219.

    Args:
        inputs: one joint map.
        build_part: builds the pooling.
        channels: length C of the vector, at least 1; 1024 in the paper.
        pool: a name in `poolings`, or a config.

    Raises:
        Mismatch: if the input is not one map.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        build_part: BuildPart,
        channels: Annotated[int, Ge(1)] = 1024,
        pool: Annotated[str | dict, Component('poolings')] = 'Average',
    ) -> None:
        super().__init__()
        spec = one_input('StageEmbedding', inputs, 'map', 'read a stage of the backbone')
        self.pool = build_part('poolings', pool, 'pool')
        self.fc = nn.Linear(spec.channels, channels)
        self.output = FeatureSpec(channels)

    def forward(self, stage: Tensor, context: Context) -> Tensor:
        return self.fc(self.pool(stage))  # (B, C)
