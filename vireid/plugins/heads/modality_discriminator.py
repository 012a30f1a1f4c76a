"""ModalityDiscriminator: guesses the modality of an image from its feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import MODALITIES, FeatureSpec, HeadOutput
from vireid.plugins.heads.hidden_layer_head import perceptron
from vireid.plugins.necks.matching import pooled_input


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
        spec, self.pool = pooled_input('ModalityDiscriminator', inputs, build_part, pool)
        self.classifier = perceptron(spec.channels, hidden, len(MODALITIES))

    def forward(self, feature: Tensor) -> HeadOutput:
        return HeadOutput(feature=self.classifier(self.pool(feature)))  # (B, 2)
