"""The batch-hard triplet loss."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import HeadOutput
from vireid.plugins.full_precision import full_precision
from vireid.plugins.losses.unit_distances import one_vector


class BatchHardTriplet(nn.Module):
    """Compares, for each image, the farthest positive with the nearest negative (Hermans et al., 2017).

    See arXiv 1703.07737. Distances are Euclidean, over both modalities. The loss is the mean of
    max(0, margin + d_pos - d_neg), or of log(1 + exp(d_pos - d_neg)) with the soft margin.

    Args:
        margin: at least 0; None selects the soft margin.

    Raises:
        Mismatch: when called, if the feature has parts.
    """

    reads_parts = False

    def __init__(self, margin: Annotated[float, Ge(0)] | None = 0.3) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        feature = one_vector('BatchHardTriplet', output)
        # under autocast the product would be in half precision, where distances of nearly equal vectors cancel
        with full_precision(feature):
            squared = feature.square().sum(dim=1)
            distance = squared[:, None] + squared[None, :] - 2 * feature @ feature.T  # (B, B)
        distance = distance.clamp_min(1e-12).sqrt()  # sqrt has no gradient at 0
        same = identities[:, None] == identities[None, :]
        positive = distance.masked_fill(~same, float('-inf')).amax(dim=1)  # (B,)
        negative = distance.masked_fill(same, float('inf')).amin(dim=1)
        gap = positive - negative
        per_image = nn.functional.softplus(gap) if self.margin is None else (gap + self.margin).clamp_min(0)
        return per_image.mean()  # (); an image without negatives has gap -inf and adds 0
