"""The weighted regularization triplet loss of AGW."""

from __future__ import annotations

from torch import Tensor, nn

from vireid.core.types import HeadOutput
from vireid.plugins.losses.softmax_weights import weighted_distances


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
        positive, negative, alone = weighted_distances('WeightedRegularizedTriplet', output, identities)
        gap = (positive - negative).masked_fill(alone, float('-inf'))  # (B,)
        return nn.functional.softplus(gap).mean()  # ()
