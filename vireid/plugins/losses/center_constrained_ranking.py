"""The bi-directional center-constrained top-ranking loss of eBDTR."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.plugins.full_precision import full_precision
from vireid.plugins.losses.unit_distances import distances, unit_feature


class CenterConstrainedRanking(nn.Module):
    """Ranks an identity's center in the other modality before images of other identities (eBDTR; Ye, TIFS 2019).

    See doi 10.1109/TIFS.2019.2921454.

    Let c be the mean of the other modality's images of the anchor's identity, and n the nearest image of another
    identity. The term of an anchor is max(0, margin + d(anchor, c) - d(anchor, n)). It pulls all images of an identity
    to one center, so it also pulls the images within a modality together. The loss is the mean over the visible anchors
    plus the mean over the infrared anchors. Distances are Euclidean. The loss L2-normalizes the features but not the
    centers. An anchor without c or n adds 0. Other modalities are ignored.

    Args:
        margin: at least 0.
        negatives: where to search for n: in the `other` modality, or in `both`.
    """

    reads_parts = False

    def __init__(self, margin: Annotated[float, Ge(0)] = 0.5, negatives: Literal['other', 'both'] = 'other') -> None:
        super().__init__()
        self.margin, self.negatives = margin, negatives

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = unit_feature('CenterConstrainedRanking', output)
        visible, infrared = context.rows(VISIBLE), context.rows(INFRARED)
        if not context.counts.get(VISIBLE) or not context.counts.get(INFRARED):
            return 0 * feature.sum()  # (): nothing to rank with only one modality
        to_infrared = self._one_way(feature, identities, visible, infrared)
        return to_infrared + self._one_way(feature, identities, infrared, visible)  # ()

    def _one_way(self, feature: Tensor, identities: Tensor, anchors: slice, others: slice) -> Tensor:
        anchor, other = feature[anchors], feature[others]
        same = identities[anchors, None] == identities[None, others]  # (A, B)
        share = same / same.sum(dim=1, keepdim=True).clamp_min(1)
        with full_precision(feature):
            center = share.to(feature.dtype) @ other  # (A, C)
        # pair by pair: `distances` would compute all A x A of them for the diagonal
        positive = (anchor - center).square().sum(dim=1).clamp_min(1e-12).sqrt()
        negative = distances(anchor, other).masked_fill(same, float('inf')).amin(dim=1)
        if self.negatives == 'both':
            own = identities[anchors, None] == identities[None, anchors]
            within = distances(anchor, anchor).masked_fill(own, float('inf')).amin(dim=1)
            negative = torch.minimum(negative, within)
        ranked = (self.margin + positive - negative).clamp_min(0)  # without negatives the gap is -inf, so this is 0
        return ranked.masked_fill(~same.any(dim=1), 0).mean()
