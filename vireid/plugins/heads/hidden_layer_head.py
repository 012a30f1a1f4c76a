"""HiddenLayerHead: classifies identities through hidden layers that the embedding does not include."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import FeatureSpec, HeadOutput
from vireid.errors import WrongValue
from vireid.plugins.necks.matching import pooled_input


class HiddenLayerHead(nn.Module):
    """An identity classifier with hidden layers, such as 2048-512-ReLU-K in cmGAN (Dai et al., IJCAI 2018).

    See doi 10.24963/ijcai.2018/94.

    Metric losses use the pooled vector, which is also the embedding; the hidden layers only serve the classifier.

    Args:
        inputs: one joint map, which is pooled, or one vector.
        num_identities: number of classes K.
        build_part: builds the pooling.
        hidden: lengths of the hidden layers, at least one; each is followed by ReLU.
        pool: pooling of a map: a name in `poolings`, or a config; None means `Average`. Leave it None for a vector.

    Raises:
        VireidError: if there is not exactly one input, `pool` is set for a vector, or `hidden` is invalid.
    """

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        num_identities: int,
        build_part: BuildPart,
        hidden: Sequence[int] = (512,),
        pool: Annotated[str | dict | None, Component('poolings')] = None,
    ) -> None:
        super().__init__()
        spec, self.pool = pooled_input('HiddenLayerHead', inputs, build_part, pool)
        self.classifier = perceptron(spec.channels, hidden, num_identities)
        self.embedding_dim = spec.channels

    def forward(self, feature: Tensor) -> HeadOutput:
        vector = self.pool(feature)  # (B, C)
        return HeadOutput(feature=vector, logits=self.classifier(vector))  # (B, K)

    def embed(self, feature: Tensor) -> Tensor:
        """Returns the (B, C) pooled vector."""
        return self.pool(feature)


def perceptron(channels: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Returns fully connected layers with ReLU between them.

    Args:
        channels: length of the input.
        hidden: lengths of the hidden layers.
        outputs: length of the output.

    Raises:
        WrongValue: if `hidden` is empty or a length is below 1.
    """
    if not hidden or min(hidden) < 1:
        raise WrongValue(f'hidden is {tuple(hidden)}', allowed='one or more integers of at least 1')
    layers: list[nn.Module] = []
    for before, after in pairwise([channels, *hidden]):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))
