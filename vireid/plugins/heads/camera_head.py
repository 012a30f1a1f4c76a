"""CameraHead: classifies the camera that took the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import FeatureSpec, HeadOutput
from vireid.plugins.necks.matching import pooled_input


class CameraHead(nn.Module):
    """A linear camera classifier: the view classifier of MSR (Feng et al., TIP 2019).

    See doi 10.1109/TIP.2019.2928126.

    `logits` are identity scores, so the camera scores, (B, cameras), are output as `feature`. Train them with
    `CameraCrossEntropy`. The embedding is the vector that is classified.

    Args:
        inputs: one joint map, which is pooled, or one vector.
        build_part: builds the pooling.
        cameras: largest camera number in the dataset, at least 2: 6 in SYSU-MM01, 9 in LLCM. Camera numbers are those
            of the dataset, start at 1 and are shared by both modalities.
        pool: pooling of a map: a name in `poolings`, or a config; None means `Average`. Leave it None for a vector.

    Raises:
        Mismatch: if there is not exactly one input, or `pool` is set for a vector.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        build_part: BuildPart,
        cameras: Annotated[int, Ge(2)] = 6,
        pool: Annotated[str | dict | None, Component('poolings')] = None,
    ) -> None:
        super().__init__()
        spec, self.pool = pooled_input('CameraHead', inputs, build_part, pool)
        self.embedding_dim = spec.channels
        self.classifier = nn.Linear(spec.channels, cameras)

    def forward(self, feature: Tensor) -> HeadOutput:
        return HeadOutput(feature=self.classifier(self.pool(feature)))  # (B, cameras)

    def embed(self, feature: Tensor) -> Tensor:
        """Returns the (B, embedding_dim) vector that is classified."""
        return self.pool(feature)
