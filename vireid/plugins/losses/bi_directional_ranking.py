"""The bi-directional dual-constrained top-ranking loss of BDTR."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.plugins.losses.unit_distances import distances, unit_feature


class BiDirectionalRanking(nn.Module):
    """Ranks each image's own identity first among the images of the other modality (BDTR; Ye, IJCAI 2018).

    See doi 10.24963/ijcai.2018/152.

    Let p be the farthest image of the anchor's identity and n the nearest image of another identity, both in the other
    modality. The ranking term of an anchor is max(0, margin + d(anchor, p) - d(anchor, n)). The intra-modality
    constraint adds intra_weight * max(0, intra_margin - d(p, n')), where n' has p's modality and another identity.
    Each term is averaged over the visible anchors and over the infrared anchors, and the two means are added.
    Distances are Euclidean, between features that the loss L2-normalizes. An anchor without p or n adds 0. Other
    modalities are ignored.

    Args:
        margin: margin of the cross-modality ranking, at least 0.
        intra_margin: distance between two identities of one modality beyond which the constraint is 0; at least 0.
        intra_weight: weight of the intra-modality constraint, at least 0.
        intra_negative: which image n' is: `anchor` for the anchor's n, `positive` for the negative nearest to p.
    """

    reads_parts = False

    def __init__(
        self,
        margin: Annotated[float, Ge(0)] = 0.5,
        intra_margin: Annotated[float, Ge(0)] = 0.1,
        intra_weight: Annotated[float, Ge(0)] = 0.1,
        intra_negative: Literal['anchor', 'positive'] = 'anchor',
    ) -> None:
        super().__init__()
        self.margin, self.intra_margin = margin, intra_margin
        self.intra_weight, self.intra_negative = intra_weight, intra_negative

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = unit_feature('BiDirectionalRanking', output)
        visible, infrared = context.rows(VISIBLE), context.rows(INFRARED)
        same = identities[visible, None] == identities[None, infrared]  # (V, I)
        if not same.numel():
            return 0 * feature.sum()  # (): nothing to rank with only one modality
        across = distances(feature[visible], feature[infrared])
        to_infrared = self._one_way(across, same, distances(feature[infrared], feature[infrared]))
        to_visible = self._one_way(across.T, same.T, distances(feature[visible], feature[visible]))
        return to_infrared + to_visible  # ()

    def _one_way(self, across: Tensor, same: Tensor, within: Tensor) -> Tensor:
        """Ranks the columns for each row.

        Args:
            across: (A, B) distances of the rows to the columns.
            same: (A, B), whether they share an identity.
            within: (B, B) distances among the columns.
        """
        positive, p = across.masked_fill(~same, float('-inf')).max(dim=1)  # (A,)
        negative, n = across.masked_fill(same, float('inf')).min(dim=1)
        ranked = (self.margin + positive - negative).clamp_min(0)  # without p or n the gap is -inf, so this is 0
        if self.intra_negative == 'anchor':
            apart = within[p, n]
        else:  # p has the anchor's identity, so both have the same negatives
            apart = within[p].masked_fill(same, float('inf')).amin(dim=1)
        complete = same.any(dim=1) & ~same.all(dim=1)
        constraint = (self.intra_margin - apart).clamp_min(0).masked_fill(~complete, 0)
        return ranked.mean() + self.intra_weight * constraint.mean()
