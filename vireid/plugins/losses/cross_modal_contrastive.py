"""The contrastive loss across modalities of TONE."""

from __future__ import annotations

from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.plugins.losses.unit_distances import distances, squared_distances, unit_feature


class CrossModalContrastive(nn.Module):
    """Pulls pairs of a visible and an infrared image of one identity together, pushes others apart (Ye, AAAI 2018).

    A pair at distance d costs d^2 / 2 if it is of one identity, and max(0, margin - d)^2 / 2 if not. Features are
    L2-normalised here, so d is 0 to 2. All pairs of the batch count. Where a kind of pair is missing - one identity
    only, or one modality only - its term is 0. Other modalities are left out.

    Args:
        margin: distance from which on different identities cost nothing, 0 to 2 (0 exclusive).
        balanced: True averages the pairs of one identity, those of two, and then both, as of a batch that has as many
            of either; False averages all pairs at once.
    """

    reads_parts = False

    def __init__(self, margin: float = 0.5, balanced: bool = True) -> None:
        super().__init__()
        if not 0 < margin <= 2:
            raise VireidError(f'margin is {margin}', allowed='0 (exclusive) to 2, the largest distance')
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
