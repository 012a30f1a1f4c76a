"""The bi-directional center-constrained top-ranking loss of eBDTR."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.plugins.full_precision import full_precision
from vireid.plugins.losses.unit_distances import distances, unit_feature


class CenterConstrainedRanking(nn.Module):
    """Ranks the center of each image's identity in the other modality before other identities (eBDTR; Ye, TIFS 2019).

    With c the mean of the other modality's images of the anchor's identity and n the nearest image of another
    identity, an anchor costs max(0, margin + d(anchor, c) - d(anchor, n)). All images of an identity are pulled to
    one center, so the formula also holds a modality's images together. The loss is the mean over the visible anchors
    plus the mean over the infrared ones. Distances are Euclidean; features are L2-normalised here, centers are not
    normalised again. An anchor without c or without n adds 0; other modalities are left out.

    Args:
        margin: at least 0.
        negatives: where n is sought: in the `other` modality, or in `both`.
    """

    reads_parts = False

    def __init__(self, margin: float = 0.5, negatives: Literal['other', 'both'] = 'other') -> None:
        super().__init__()
        if margin < 0:
            raise VireidError(f'margin is {margin}', allowed='a number of at least 0')
        self.margin, self.negatives = margin, negatives

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = unit_feature('CenterConstrainedRanking', output)
        visible, infrared = context.rows(VISIBLE), context.rows(INFRARED)
        if not context.counts.get(VISIBLE) or not context.counts.get(INFRARED):
            return 0 * feature.sum()  # (): one modality alone has nothing to rank
        to_infrared = self._one_way(feature, identities, visible, infrared)
        return to_infrared + self._one_way(feature, identities, infrared, visible)  # ()

    def _one_way(self, feature: Tensor, identities: Tensor, anchors: slice, others: slice) -> Tensor:
        anchor, other = feature[anchors], feature[others]
        same = identities[anchors, None] == identities[None, others]  # (A, B)
        share = same / same.sum(dim=1, keepdim=True).clamp_min(1)
        with full_precision(feature):
            center = share.to(feature.dtype) @ other  # (A, C)
        # a pair at a time: all A x A distances would be made for their diagonal
        positive = (anchor - center).square().sum(dim=1).clamp_min(1e-12).sqrt()
        negative = distances(anchor, other).masked_fill(same, float('inf')).amin(dim=1)
        if self.negatives == 'both':
            own = identities[anchors, None] == identities[None, anchors]
            within = distances(anchor, anchor).masked_fill(own, float('inf')).amin(dim=1)
            negative = torch.minimum(negative, within)
        ranked = (self.margin + positive - negative).clamp_min(0)  # an anchor without negatives has -inf and adds 0
        return ranked.masked_fill(~same.any(dim=1), 0).mean()
