"""The hetero-center triplet loss of HcTri."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import Context, HeadOutput
from vireid.plugins.full_precision import full_precision
from vireid.plugins.modality_numbers import modality_numbers


class HeteroCenterTriplet(nn.Module):
    """Hard triplets of the centers of identities in each modality (HcTri).

    From Liu et al., IEEE TMM 2020, arXiv 2008.06223. A center c is the mean feature of one identity's images in one
    modality. With Euclidean distances d, the term of the center of identity i in modality m is max(0, margin + d(c_im,
    c_in) - min over j != i and all modalities o of d(c_im, c_jo)), where n is the other modality; with several others,
    the one with the farthest center. The loss is the mean over all centers. It is summed over parts, each with its own
    centers. Features are not normalized.

    Rows may be in any order, and identities may have any number of rows. The center of an identity that lacks the other
    modality has no term, but is a negative for the others. A center without negatives adds 0, and a batch with one
    modality gives 0.

    Args:
        margin: at least 0.
    """

    def __init__(self, margin: Annotated[float, Ge(0)] = 0.3) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = output.feature.to(torch.promote_types(output.feature.dtype, torch.float32))
        parts = feature.reshape(len(feature), -1, feature.shape[-1])  # (B, P, C); one part for a vector
        modality = modality_numbers(context, identities.device)  # (B,)
        groups, group_of = (identities * len(context.counts) + modality).unique(return_inverse=True)  # (N,), (B,)
        member = torch.nn.functional.one_hot(group_of, len(groups)).T  # (N, B)
        share = (member / member.sum(dim=1, keepdim=True)).to(parts.dtype)
        # under autocast the product would be in half precision
        with full_precision(parts):
            centers = torch.einsum('nb,bpc->pnc', share, parts)
        squared = (centers[:, :, None] - centers[:, None, :]).square().sum(dim=3)
        distance = squared.clamp_min(1e-12).sqrt()  # (P, N, N); sqrt has no gradient at 0
        owner = groups // len(context.counts)
        same = owner[:, None] == owner[None, :]
        counterpart = same & ~torch.eye(len(groups), dtype=torch.bool, device=same.device)
        positive = distance.masked_fill(~counterpart, float('-inf')).amax(dim=2)  # (P, N)
        negative = distance.masked_fill(same, float('inf')).amin(dim=2)
        terms = (self.margin + positive - negative).clamp_min(0)  # 0 without a counterpart or negatives
        return terms.sum() / counterpart.any(dim=1).sum().clamp_min(1)  # ()
