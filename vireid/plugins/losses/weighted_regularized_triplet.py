"""The weighted regularization triplet loss of AGW."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import HeadOutput
from vireid.plugins.full_precision import full_precision


class WeightedRegularizedTriplet(nn.Module):
    """Compares all positives of an image with all its negatives, weighting hard ones most (AGW).

    From Ye et al., TPAMI 2021, arXiv 2001.04193. With Euclidean distances d, the loss is the mean over images i of
    log(1 + exp(sum_j w_ij d_ij - sum_k v_ik d_ik)), where j runs over the images of its identity, k over those of
    others, w_i = softmax_j(d_ij) and v_i = softmax_k(-d_ik). There is no margin. Gradients also flow through the
    weights.

    Positives cover both modalities and include the image itself, at distance 0. The first sum is therefore 0 for an
    image that is the only one of its identity. An image without negatives adds 0 to the loss.
    """

    reads_parts = False

    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        feature = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))
        if feature.ndim != 2:
            raise VireidError(
                'WeightedRegularizedTriplet reads one vector per image and got parts',
                todo='use it on a global head',
            )
        # under autocast the product would be in half precision, where distances of nearly equal vectors cancel
        with full_precision(feature):
            squared = feature.square().sum(dim=1)
            distance = squared[:, None] + squared[None, :] - 2 * feature @ feature.T  # (B, B)
        distance = distance.clamp_min(1e-12).sqrt()  # sqrt has no gradient at 0
        distance = distance.masked_fill(torch.eye(len(feature), dtype=torch.bool, device=feature.device), 0)
        same = identities[:, None] == identities[None, :]
        far = distance.masked_fill(~same, float('-inf')).softmax(dim=1)  # (B, B): w, 0 for other identities
        # a finite fill value: in a row without negatives, a softmax of only -inf would be NaN
        near = (-distance).masked_fill(same, torch.finfo(distance.dtype).min).softmax(dim=1)  # (B, B): v
        gap = (far * distance).sum(dim=1) - (near * distance).sum(dim=1)  # (B,)
        gap = gap.masked_fill(same.all(dim=1), float('-inf'))
        return nn.functional.softplus(gap).mean()  # ()
