"""The cross-modality contrastive loss of TONE."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt, Le
from torch import Tensor, nn

from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.plugins.losses.unit_distances import distances, squared_distances, unit_feature


class CrossModalContrastive(nn.Module):
    """Pulls visible-infrared pairs of one identity together and pushes other pairs apart.

    From Ye et al., AAAI 2018, doi 10.1609/aaai.v32i1.12293. The term of a pair at distance d is d^2 / 2 if both images
    have the same identity, and max(0, margin - d)^2 / 2 otherwise. The loss L2-normalizes the features, so d is 0 to 2,
    and uses all pairs of the batch. If a batch has no positive or no negative pairs, that term is 0. Other modalities
    are ignored.

    Args:
        margin: distance beyond which a pair of different identities adds 0; 0 (exclusive) to 2.
        balanced: True averages positive and negative pairs separately and takes the mean of both, as if there were
            equally many of each; False averages over all pairs.
    """

    reads_parts = False

    def __init__(self, margin: Annotated[float, Gt(0), Le(2)] = 0.5, balanced: bool = True) -> None:
        super().__init__()
        self.margin, self.balanced = margin, balanced

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = unit_feature('CrossModalContrastive', output)
        visible, infrared = context.rows(VISIBLE), context.rows(INFRARED)
        same = identities[visible, None] == identities[None, infrared]  # (V, I)
        pull = squared_distances(feature[visible], feature[infrared])
        push = (self.margin - distances(feature[visible], feature[infrared])).clamp_min(0).square()
        pulled, pushed = pull.masked_fill(~same, 0).sum(), push.masked_fill(same, 0).sum()
        if not self.balanced:
            return (pulled + pushed) / max(2 * same.numel(), 1)  # ()
        of_one = same.sum()
        return (pulled / of_one.clamp_min(1) + pushed / (same.numel() - of_one).clamp_min(1)) / 4  # ()
