"""The weighted regularised triplet loss of AGW."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import HeadOutput
from vireid.plugins.full_precision import full_precision


class WeightedRegularizedTriplet(nn.Module):
    """All positives of an image against all its negatives, the hard ones most (Ye et al., TPAMI 2021, AGW).

    For image i with Euclidean distances d: log(1 + exp(sum_j w_ij d_ij - sum_k v_ik d_ik)), j over the images of its
    identity, k over those of others, w_i = softmax_j(d_ij), v_i = softmax_k(-d_ik); the mean over i. There is no margin
    and nothing to set. Gradients flow through the weights too.

    The positives are of both modalities and include the image itself, at distance 0: an image without another one of
    its identity has 0 for the first sum. An image without a negative adds 0 to the loss.
    """

    reads_parts = False

    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        feature = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))
        if feature.ndim != 2:
            raise VireidError(
                'WeightedRegularizedTriplet reads one vector per image and was given parts',
                todo='use it on a global head',
            )
        # autocast would take the product to half precision, where distances of nearly equal vectors cancel
        with full_precision(feature):
            squared = feature.square().sum(dim=1)
            distance = squared[:, None] + squared[None, :] - 2 * feature @ feature.T  # (B, B)
        distance = distance.clamp_min(1e-12).sqrt()  # sqrt has no gradient at 0
        distance = distance.masked_fill(torch.eye(len(feature), dtype=torch.bool, device=feature.device), 0)
        same = identities[:, None] == identities[None, :]
        far = distance.masked_fill(~same, float('-inf')).softmax(dim=1)  # (B, B): w, 0 for other identities
        # a finite filler: a row without a negative has none to weigh, and a softmax of -inf alone is not a number
        near = (-distance).masked_fill(same, torch.finfo(distance.dtype).min).softmax(dim=1)  # (B, B): v
        gap = (far * distance).sum(dim=1) - (near * distance).sum(dim=1)  # (B,)
        gap = gap.masked_fill(same.all(dim=1), float('-inf'))
        return nn.functional.softplus(gap).mean()  # ()
