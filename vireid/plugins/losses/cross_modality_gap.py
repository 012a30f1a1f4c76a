"""CrossModalityGap: hard triplets of identity centres across modalities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, Context, HeadOutput, Modality
from vireid.plugins.full_precision import full_precision


class CrossModalityGap(nn.Module):
    """The cross modality gap constraint of the X modality (Li et al., AAAI 2020), on centres of identities.

    A centre is the mean feature of one identity's images in one modality. With D_ij the Euclidean distance of the
    anchor modality's centre of identity i from the other's of j, the loss of two modalities is the mean over i of
    max(0, margin + D_ii - min over j != i of (D_ij, D_ji)). It is summed over the anchor's pairs with each other
    modality of the batch.

    An identity that one of the two lacks has no term and serves the others as a negative. One without negatives adds 0,
    and so do two modalities without a common identity. A batch of the anchor alone gives 0.

    Args:
        margin: at least 0.
        anchor: the modality that each of the others is compared with.
    """

    reads_parts = False

    def __init__(self, margin: float = 0.5, anchor: str = INFRARED) -> None:
        super().__init__()
        if margin < 0:
            raise VireidError(f'margin is {margin}', allowed='a number of at least 0')
        self.margin, self.anchor = margin, anchor

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))
        if feature.ndim != 2:
            raise VireidError(
                'CrossModalityGap reads one vector per image and was given parts', todo='use it on a global head'
            )
        if self.anchor not in context.counts:
            raise VireidError(
                f'anchor is {self.anchor!r}, and the batch has no such images', allowed=', '.join(context.counts)
            )
        persons = identities.unique()  # (I,)

        def centres(modality: Modality) -> tuple[Tensor, Tensor]:
            rows = context.rows(modality)
            member = persons[:, None] == identities[None, rows]  # (I, N)
            count = member.sum(dim=1)
            # autocast would take the product to half precision, where distances of nearly equal vectors cancel
            with full_precision(feature):
                mean = member.to(feature.dtype) @ feature[rows] / count.clamp_min(1)[:, None]
            return mean, count > 0  # (I, C), (I,)

        own = centres(self.anchor)
        pairs = [self._pair(*own, *centres(other)) for other in context.counts if other != self.anchor]
        return torch.stack(pairs).sum() if pairs else feature.new_zeros(()) * feature.sum()  # ()

    def _pair(self, first: Tensor, has_first: Tensor, second: Tensor, has_second: Tensor) -> Tensor:
        squared = (first[:, None] - second[None, :]).square().sum(dim=2)
        distance = squared.clamp_min(1e-12).sqrt()  # (I, I); sqrt has no gradient at 0
        unusable = ~(has_first[:, None] & has_second[None, :]) | torch.eye(len(first), dtype=torch.bool).to(
            first.device
        )
        negatives = distance.masked_fill(unusable, float('inf'))
        nearest = torch.minimum(negatives.amin(dim=1), negatives.amin(dim=0))  # (I,)
        term = (self.margin + distance.diagonal() - nearest).clamp_min(0)  # 0 without negatives
        both = has_first & has_second
        return term.masked_fill(~both, 0).sum() / both.sum().clamp_min(1)
