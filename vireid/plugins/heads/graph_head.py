"""GraphHead: a graph attention layer whose output is the logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Lt
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.necks.graph_layer import GraphLayer
from vireid.plugins.necks.matching import one_input


class GraphHead(nn.Module):
    """Classifies each image together with the images of its identity: DDAG's output layer (before its Eq. 9).

    DDAG is Ye et al., ECCV 2020, arXiv 2007.09314. One graph attention head maps the nodes to K logits, followed by an
    ELU. `CrossEntropy` on them is the negative log-likelihood of Eq. 9. The head needs identities, so it works only in
    training.

    Args:
        inputs: one vector.
        num_identities: number of classes K.
        negative_slope: negative slope of the LeakyReLU.
        dropout: dropout rate of the nodes and of the attention, 0 to 1 (exclusive).

    Raises:
        Mismatch: if the input is not one vector; when called, if the identities are unknown.
    """

    train_only = True

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        num_identities: int,
        negative_slope: float = 0.2,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.2,
    ) -> None:
        super().__init__()
        spec = one_input('GraphHead', inputs, 'vector', 'read a GraphAttention neck')
        self.layer = GraphLayer(spec.channels, num_identities, 1, negative_slope, dropout)

    def forward(self, nodes: Tensor, context: Context) -> HeadOutput:
        if context.identities is None:
            raise Mismatch('GraphHead needs identities, which are available only in training')
        (logits,) = self.layer(nodes, context.identities)
        return HeadOutput(feature=nodes, logits=nn.functional.elu(logits))  # (B, C), (B, K)
