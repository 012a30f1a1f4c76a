"""CrossModalCosineTriplet: hard triplets by cosine similarity, across the modalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import MODALITIES, Context, HeadOutput, Modality
from vireid.errors import WrongValue
from vireid.plugins.full_precision import full_precision


class CrossModalCosineTriplet(nn.Module):
    """Hard triplets by cosine similarity, anchored in each modality (AlignGAN; Wang et al., ICCV 2019).

    See arXiv 1910.05839.

    For each anchor a of a modality, with s the cosine similarity to the images of the other modalities,

        [margin - min over positives p of s(a, p) + max over negatives n of s(a, n)]+,

    averaged over the anchors of the modality and summed over the modalities. Anchors without a positive or without a
    negative do not count.

    Args:
        margin: the margin.
        among: modalities whose images are compared. If there is only one, its images are compared with each other.

    Raises:
        WrongValue: if `among` is empty or names one twice.
    """

    reads_parts = False

    def __init__(self, margin: Annotated[float, Ge(0)] = 1.0, among: Sequence[Modality] = MODALITIES) -> None:
        super().__init__()
        if not among or len(set(among)) != len(among):
            raise WrongValue(f'among is {tuple(among)}', allowed='one or more different modalities')
        self.margin, self.among = margin, tuple(among)

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))
        unit = nn.functional.normalize(feature, dim=1)
        total = unit.sum() * 0  # a gradient even if no anchor counts
        for modality in self.among:
            others = [m for m in self.among if m != modality] or [modality]
            compared = torch.cat([_indices(context.rows(m), unit) for m in others])
            anchors = context.rows(modality)
            if anchors.start == anchors.stop or not len(compared):
                continue
            # under autocast the product would be in half precision
            with full_precision(unit):
                similarity = unit[anchors] @ unit[compared].T  # (A, B)
            same = identities[anchors, None] == identities[compared]
            counts = same.any(dim=1) & ~same.all(dim=1)
            positive = similarity.masked_fill(~same, torch.inf).amin(dim=1)
            negative = similarity.masked_fill(same, -torch.inf).amax(dim=1)
            hinge = torch.relu(self.margin - positive + negative)  # 0 for anchors that do not count: the gap is -inf
            total = total + hinge.sum() / counts.sum().clamp_min(1)
        return total  # ()


def _indices(rows: slice, like: Tensor) -> Tensor:
    return torch.arange(rows.start, rows.stop, device=like.device)
