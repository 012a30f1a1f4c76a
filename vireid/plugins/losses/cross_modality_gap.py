"""CrossModalityGap: hard triplets of identity centers across modalities."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import INFRARED, Context, HeadOutput, Modality
from vireid.errors import Mismatch
from vireid.plugins.full_precision import full_precision
from vireid.plugins.losses.unit_distances import one_vector


class CrossModalityGap(nn.Module):
    """The cross modality gap constraint of the X modality, on identity centers.

    From Li et al., AAAI 2020, doi 10.1609/aaai.v34i04.5891. A center is the mean feature of one identity's images in
    one modality. Let D_ij be the Euclidean distance between the center of identity i in the anchor modality and the
    center of identity j in the other modality. The loss of two modalities is the mean over i of max(0, margin + D_ii -
    min over j != i of (D_ij, D_ji)). It is summed over all modalities of the batch other than the anchor.

    An identity that lacks one of the two modalities has no term, but is a negative for the others. An identity without
    negatives adds 0, and so do two modalities without a common identity. A batch with only the anchor modality gives 0.

    Args:
        margin: at least 0.
        anchor: the modality that all others are compared with.

    Raises:
        Mismatch: when called, if the feature has parts or the batch has no images of the anchor modality.
    """

    reads_parts = False

    def __init__(self, margin: Annotated[float, Ge(0)] = 0.5, anchor: str = INFRARED) -> None:
        super().__init__()
        self.margin, self.anchor = margin, anchor

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = one_vector('CrossModalityGap', output)
        if self.anchor not in context.counts:
            raise Mismatch(
                f'anchor is {self.anchor!r}, but the batch has no such images', allowed=', '.join(context.counts)
            )
        unique = identities.unique()  # (I,)

        def centers(modality: Modality) -> tuple[Tensor, Tensor]:
            rows = context.rows(modality)
            member = unique[:, None] == identities[None, rows]  # (I, N)
            count = member.sum(dim=1)
            # under autocast the product would be in half precision, where distances of nearly equal vectors cancel
            with full_precision(feature):
                mean = member.to(feature.dtype) @ feature[rows] / count.clamp_min(1)[:, None]
            return mean, count > 0  # (I, C), (I,)

        own = centers(self.anchor)
        pairs = [self._pair(*own, *centers(other)) for other in context.counts if other != self.anchor]
        return torch.stack(pairs).sum() if pairs else feature.new_zeros(()) * feature.sum()  # ()

    def _pair(self, first: Tensor, has_first: Tensor, second: Tensor, has_second: Tensor) -> Tensor:
        squared = (first[:, None] - second[None, :]).square().sum(dim=2)
        distance = squared.clamp_min(1e-12).sqrt()  # (I, I); sqrt has no gradient at 0
        itself = torch.eye(len(first), dtype=torch.bool, device=first.device)
        unusable = ~(has_first[:, None] & has_second[None, :]) | itself
        negatives = distance.masked_fill(unusable, float('inf'))
        nearest = torch.minimum(negatives.amin(dim=1), negatives.amin(dim=0))  # (I,)
        term = (self.margin + distance.diagonal() - nearest).clamp_min(0)  # 0 without negatives
        both = has_first & has_second
        return term.masked_fill(~both, 0).sum() / both.sum().clamp_min(1)
