"""The bi-directional dual-constrained top-ranking loss of BDTR."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.plugins.losses.unit_distances import distances, unit_feature


class BiDirectionalRanking(nn.Module):
    """Ranks each image's own identity first among the images of the other modality (BDTR; Ye, IJCAI 2018).

    With p the farthest image of the anchor's identity and n the nearest of another, both of the other modality, an
    anchor costs max(0, margin + d(anchor, p) - d(anchor, n)). The intra-modality constraint adds
    intra_weight * max(0, intra_margin - d(p, n')) where n' is an image of p's modality and of another identity. Both
    are means over the visible anchors, plus means over the infrared ones. Distances are Euclidean between features
    that are L2-normalised here. An anchor without p or without n adds 0; other modalities are left out.

    Args:
        margin: of the ranking across modalities, at least 0.
        intra_margin: distance of two identities within a modality from which on it costs nothing, at least 0.
        intra_weight: factor of the intra-modality constraint, at least 0.
        intra_negative: which image n' is: `anchor` the n of the anchor, `positive` the one nearest to p.
    """

    reads_parts = False

    def __init__(
        self,
        margin: float = 0.5,
        intra_margin: float = 0.1,
        intra_weight: float = 0.1,
        intra_negative: Literal['anchor', 'positive'] = 'anchor',
    ) -> None:
        super().__init__()
        for name, value in (('margin', margin), ('intra_margin', intra_margin), ('intra_weight', intra_weight)):
            if value < 0:
                raise VireidError(f'{name} is {value}', allowed='a number of at least 0')
        self.margin, self.intra_margin = margin, intra_margin
        self.intra_weight, self.intra_negative = intra_weight, intra_negative

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = unit_feature('BiDirectionalRanking', output)
        visible, infrared = context.rows(VISIBLE), context.rows(INFRARED)
        same = identities[visible, None] == identities[None, infrared]  # (V, I)
        if not same.numel():
            return 0 * feature.sum()  # (): one modality alone has nothing to rank
        across = distances(feature[visible], feature[infrared])
        to_infrared = self._one_way(across, same, distances(feature[infrared], feature[infrared]))
        to_visible = self._one_way(across.T, same.T, distances(feature[visible], feature[visible]))
        return to_infrared + to_visible  # ()

    def _one_way(self, across: Tensor, same: Tensor, within: Tensor) -> Tensor:
        """Ranks the columns for each row: (A, B) distances and matches, and (B, B) distances of the columns."""
        positive, p = across.masked_fill(~same, float('-inf')).max(dim=1)  # (A,)
        negative, n = across.masked_fill(same, float('inf')).min(dim=1)
        ranked = (self.margin + positive - negative).clamp_min(0)  # 0 where either is missing: the gap is -inf
        if self.intra_negative == 'anchor':
            apart = within[p, n]
        else:  # p is of the anchor's identity, so its negatives are the anchor's
            apart = within[p].masked_fill(same, float('inf')).amin(dim=1)
        complete = same.any(dim=1) & ~same.all(dim=1)
        constraint = (self.intra_margin - apart).clamp_min(0).masked_fill(~complete, 0)
        return ranked.mean() + self.intra_weight * constraint.mean()
