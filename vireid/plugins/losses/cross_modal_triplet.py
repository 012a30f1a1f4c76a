"""The cross-modal triplet loss of cmGAN."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import INFRARED, VISIBLE, Context, HeadOutput
from vireid.plugins.losses.unit_distances import distances, unit_feature


class CrossModalTriplet(nn.Module):
    """Triplets whose positive and negative are from the other modality (cmGAN; Dai et al., IJCAI 2018).

    See doi 10.24963/ijcai.2018/94.

    For an anchor a with a positive p and a negative n, both from the other modality, the term of a triplet is
    max(0, margin + d(a, p) - d(a, n)). The mean over the visible anchors and the mean over the infrared anchors are
    added. Other modalities are ignored. Without a triplet, a direction adds 0.

    Args:
        margin: margin, at least 0.
        triplets: which triplets count: `all` in the batch, the expected value of a random draw; or only the `hardest`
            of each anchor, with its farthest positive and its nearest negative.
        normalize: whether to L2-normalize the features first.

    Raises:
        Mismatch: when called, if the feature has parts.
    """

    reads_parts = False

    def __init__(
        self,
        margin: Annotated[float, Ge(0)] = 1.4,
        triplets: Literal['all', 'hardest'] = 'all',
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.margin, self.triplets, self.normalize = margin, triplets, normalize

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        unit = unit_feature('CrossModalTriplet', output)  # checks the shape
        feature = unit if self.normalize else output.feature.to(unit.dtype)
        visible, infrared = context.rows(VISIBLE), context.rows(INFRARED)
        across = distances(feature[visible], feature[infrared])  # (V, I)
        same = identities[visible, None] == identities[None, infrared]
        return self._one_way(across, same) + self._one_way(across.T, same.T)  # ()

    def _one_way(self, across: Tensor, same: Tensor) -> Tensor:
        """Returns the mean of the triplets with the rows as anchors.

        Args:
            across: (A, B) distances of the anchors to the images of the other modality.
            same: (A, B), whether they share an identity.
        """
        if self.triplets == 'hardest':
            if not same.numel():
                return 0 * across.sum()
            anchors = same.any(dim=1) & ~same.all(dim=1)
            farthest = across.masked_fill(~same, float('-inf')).amax(dim=1)
            nearest = across.masked_fill(same, float('inf')).amin(dim=1)
            costs = (self.margin + farthest - nearest).clamp_min(0)  # 0 for other anchors: the gap is -inf
            return costs.sum() / anchors.sum().clamp_min(1)
        costs = (self.margin + across[:, :, None] - across[:, None, :]).clamp_min(0)  # (A, B, B): positive, negative
        triplets = (same[:, :, None] & ~same[:, None, :]).to(costs.dtype)
        return (triplets * costs).sum() / torch.clamp_min(triplets.sum(), 1)
