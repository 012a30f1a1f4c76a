"""WithinIdentityWhitening: down-weights the directions in which images of one identity differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor, nn

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch, TooFew
from vireid.plugins.full_precision import in_float64
from vireid.plugins.necks.matching import one_input


class WithinIdentityWhitening(nn.Module):
    """Maps vectors so that images of one identity, over both modalities, have the same variance in all directions.

    This is within-class covariance normalization (Hatch et al., Interspeech 2006): y = L^T x with L L^T = S^-1 and

        S = (1 - shrinkage) W + shrinkage tr(W) / C I,   W = 1/N sum_i (x_i - m_i)(x_i - m_i)^T,

    where m_i is the mean vector of the identity of image i. `fit` computes L in closed form from labeled images; until
    then it is the identity matrix. `groups` splits the vector into equal pieces (the stripes of `StripeEmbedding`). All
    pieces share one matrix, estimated from all of them, so few images are enough.

    Args:
        inputs: one vector.
        groups: number of equal pieces of the vector, at least 1.
        shrinkage: weight of the mean variance in S, above 0 and up to 1. At 1 only the scale changes.

    Raises:
        Mismatch: if the input is not one vector, or `groups` does not divide its length.
    """

    needs_identities = True

    def __init__(
        self,
        inputs: Sequence[FeatureSpec],
        groups: int = 1,
        shrinkage: Annotated[float, Gt(0), Le(1)] = 0.2,
    ) -> None:
        super().__init__()
        spec = one_input('WithinIdentityWhitening', inputs, 'vector', 'pool it first, e.g. with StripeEmbedding')
        if groups < 1 or spec.channels % groups:
            raise Mismatch(
                f'groups is {groups}, but the vector has {spec.channels} channels', allowed='a divisor of that number'
            )
        self.output, self.groups, self.shrinkage = spec, groups, shrinkage
        self.matrix: Tensor
        self.register_buffer('matrix', torch.eye(spec.channels // groups))  # L

    def forward(self, vector: Tensor, context: Context) -> Tensor:
        pieces = vector.unflatten(1, (self.groups, -1))  # (B, G, C / G)
        return (pieces @ self.matrix).flatten(1)  # (B, C)

    def fit(self, vector: Tensor, context: Context) -> None:
        """Computes L from (N, C) vectors with identities.

        Raises:
            VireidError: if there are no identities, or none has two images.
        """
        if context.identities is None:
            raise Mismatch('WithinIdentityWhitening is fitted to labeled images, but these have no identities')
        pieces = in_float64(vector).unflatten(1, (self.groups, -1))  # (N, G, C / G)
        _, label = context.identities.to(pieces.device).unique(return_inverse=True)
        count = torch.bincount(label).to(pieces)
        if count.max() < 2:
            raise TooFew(
                'WithinIdentityWhitening: no identity has two images',
                todo='provide several images per identity, or remove this neck',
            )
        means = torch.zeros(len(count), *pieces.shape[1:]).to(pieces).index_add_(0, label, pieces)
        apart = (pieces - (means / count[:, None, None])[label]).flatten(0, 1)  # (N G, C / G)
        within = apart.T @ apart / len(apart)
        scale = within.diagonal().mean()
        if not scale > 0:  # the images of each identity are all equal: no direction to down-weight
            self.matrix.copy_(torch.eye(len(within)))
            return
        shrunk = (1 - self.shrinkage) * within + self.shrinkage * scale * torch.eye(len(within)).to(within)
        self.matrix.copy_(torch.linalg.cholesky(torch.linalg.inv(shrunk)))
