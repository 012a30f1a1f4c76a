"""The Euclidean constraint between the modalities of MSR."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.plugins.full_precision import full_precision


class CrossModalityEuclidean(nn.Module):
    """Pulls the visible and the infrared features of an identity together (Feng et al., TIP 2019).

    The loss is the mean of |f_i - f_j|^2 over all pairs of a visible image i and an infrared image j of one identity.
    The paper's abstract names the constraint; that it is over all such pairs, squared, and a mean is our reading. An
    identity that lacks a modality makes no pair. A batch without any pair gives 0.

    Args:
        normalize: compare unit vectors, so that a distance is at most 4 and does not fall by shrinking the features;
            False compares the features themselves.
    """

    reads_parts = False

    def __init__(self, normalize: bool = True) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))
        if feature.ndim != 2:
            raise VireidError(
                'CrossModalityEuclidean reads one vector per image and was given parts', todo='use it on a global head'
            )
        if self.normalize:
            feature = nn.functional.normalize(feature, dim=1)
        visible, infrared = context.rows(VISIBLE), context.rows(INFRARED)
        a, b = feature[visible], feature[infrared]  # (V, C), (I, C)
        # autocast would take the product to half precision, where distances of nearly equal vectors cancel
        with full_precision(feature):
            squared = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)[None, :] - 2 * a @ b.T  # (V, I)
        same = (identities[visible][:, None] == identities[infrared][None, :]).to(squared.dtype)
        return (same * squared).sum() / same.sum().clamp_min(1)  # ()
