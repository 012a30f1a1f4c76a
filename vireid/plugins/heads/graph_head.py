"""GraphHead: a graph attention layer whose output is the logits."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import Context, FeatureSpec, HeadOutput
from vireid.plugins.necks.graph_layer import GraphLayer


class GraphHead(nn.Module):
    """Classifies each image together with the images of its identity: DDAG's output layer (before its Eq. 9).

    One head of graph attention maps the nodes to K values behind an ELU. With `CrossEntropy` on them it is the negative
    log-likelihood of Eq. 9. It reads identities, so it is for training only.

    Args:
        inputs: one vector.
        num_identities: classes K.
        negative_slope: of the LeakyReLU.
        dropout: share of the nodes' values, and of the attention, that training drops; 0 to 1 (exclusive).
    """

    train_only = True

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        num_identities: int,
        negative_slope: float = 0.2,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if len(inputs) != 1 or inputs[0].kind != 'vector':
            given = ', '.join(f'{spec.kind} of {spec.channels}' for spec in inputs)
            raise VireidError(f'GraphHead reads one vector and was given: {given}', todo='read a GraphAttention neck')
        self.layer = GraphLayer(inputs[0].channels, num_identities, 1, negative_slope, dropout)

    def forward(self, nodes: Tensor, context: Context) -> HeadOutput:
        if context.identities is None:
            raise VireidError('GraphHead reads identities and there are none outside training')
        (logits,) = self.layer(nodes, context.identities)
        return HeadOutput(feature=nodes, logits=nn.functional.elu(logits))  # (B, C), (B, K)
