"""CameraHead: which camera took the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import FeatureSpec, HeadOutput


class CameraHead(nn.Module):
    """A linear classifier of cameras: the view classifier of MSR (Feng et al., TIP 2019).

    Logits are of identities, so its scores are handed on as `feature`, (B, cameras). `CameraCrossEntropy` reads them.
    The embedding is the vector that it classifies.

    Args:
        inputs: one joint map, which is pooled, or vector.
        build_part: builds the pooling.
        cameras: largest camera number of the dataset, at least 2: 6 in SYSU-MM01, 9 in LLCM. Numbers are the
            dataset's own, over both modalities, from 1.
        pool: how a map is pooled: a name among `poolings`, or a config of one; None is `Average`. A vector takes none.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        build_part: BuildPart,
        cameras: int = 6,
        pool: Annotated[str | dict | None, Component('poolings')] = None,
    ) -> None:
        super().__init__()
        if len(inputs) != 1:
            raise VireidError(
                f'CameraHead reads one feature and was given {len(inputs)}', todo='fuse them with a neck first'
            )
        if cameras < 2:
            raise VireidError(f'cameras is {cameras}', allowed='an integer of at least 2')
        (spec,) = inputs
        if spec.kind == 'vector' and pool is not None:
            raise VireidError(
                f'pool is {pool!r} and the head reads a vector, which is not pooled', todo='take pool away'
            )
        self.pool = build_part('poolings', pool or 'Average', 'pool') if spec.kind == 'map' else nn.Identity()
        self.embedding_dim = spec.channels
        self.classifier = nn.Linear(spec.channels, cameras)

    def forward(self, feature: Tensor) -> HeadOutput:
        return HeadOutput(feature=self.classifier(self.pool(feature)))  # (B, cameras)

    def embed(self, feature: Tensor) -> Tensor:
        """Returns the (B, embedding_dim) vector that is classified."""
        return self.pool(feature)
