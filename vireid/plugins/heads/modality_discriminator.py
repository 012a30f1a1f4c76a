"""ModalityDiscriminator: guesses the modality of an image from its feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import MODALITIES, FeatureSpec, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.heads.hidden_layer_head import perceptron


class ModalityDiscriminator(nn.Module):
    """The discriminator of cmGAN (Dai et al., IJCAI 2018): fully connected layers with ReLU, one score per modality.

    See doi 10.24963/ijcai.2018/94.

    The scores, (B, 2) for visible and infrared, are output as `feature`. Train it with `ModalityCrossEntropy`, and with
    a separate optimizer (the step `MultipleOptimizers`).

    Args:
        inputs: one joint map, which is pooled, or one vector.
        build_part: builds the pooling.
        hidden: lengths of the hidden layers, at least one.
        pool: pooling of a map: a name in `poolings`, or a config; None means `Average`. Leave it None for a vector.

    Raises:
        VireidError: if there is not exactly one input, `pool` is set for a vector, or `hidden` is invalid.
    """

    train_only = True

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        build_part: BuildPart,
        hidden: Sequence[int] = (1000, 500),
        pool: Annotated[str | dict | None, Component('poolings')] = None,
    ) -> None:
        super().__init__()
        if len(inputs) != 1:
            raise Mismatch(
                f'ModalityDiscriminator reads one feature and got {len(inputs)}', todo='fuse them with a neck first'
            )
        (spec,) = inputs
        if spec.kind == 'vector' and pool is not None:
            raise Mismatch(f'pool is {pool!r}, but the head reads a vector, which is not pooled', todo='remove pool')
        self.pool = build_part('poolings', pool or 'Average', 'pool') if spec.kind == 'map' else nn.Identity()
        self.classifier = perceptron(spec.channels, hidden, len(MODALITIES))

    def forward(self, feature: Tensor) -> HeadOutput:
        return HeadOutput(feature=self.classifier(self.pool(feature)))  # (B, 2)
