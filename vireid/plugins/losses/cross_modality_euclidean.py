"""The cross-modality Euclidean constraint of MSR."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.full_precision import full_precision


class CrossModalityEuclidean(nn.Module):
    """Pulls the visible and infrared features of an identity together (Feng et al., TIP 2019).

    See doi 10.1109/TIP.2019.2928126.

    The loss is the mean of |f_i - f_j|^2 over all pairs of a visible image i and an infrared image j of one identity.
    The paper's abstract names the constraint; taking the mean of squared distances over all pairs is our reading. An
    identity that lacks a modality has no pairs. A batch without pairs gives 0.

    Args:
        normalize: True L2-normalizes the features, so that a squared distance is at most 4 and shrinking the features
            does not reduce it; False compares the features themselves.

    Raises:
        Mismatch: when called, if the feature has parts.
    """

    reads_parts = False

    def __init__(self, normalize: bool = True) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))
        if feature.ndim != 2:
            raise Mismatch(
                'CrossModalityEuclidean reads one vector per image and got parts', todo='use it on a global head'
            )
        if self.normalize:
            feature = nn.functional.normalize(feature, dim=1)
        visible, infrared = context.rows(VISIBLE), context.rows(INFRARED)
        a, b = feature[visible], feature[infrared]  # (V, C), (I, C)
        # under autocast the product would be in half precision, where distances of nearly equal vectors cancel
        with full_precision(feature):
            squared = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)[None, :] - 2 * a @ b.T  # (V, I)
        same = (identities[visible][:, None] == identities[infrared][None, :]).to(squared.dtype)
        return (same * squared).sum() / same.sum().clamp_min(1)  # ()
