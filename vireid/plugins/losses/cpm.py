"""The center-guided pair mining loss of DEEN."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import MODALITIES, Context, HeadOutput
from vireid.plugins.full_precision import full_precision
from vireid.plugins.losses.copies import split_copies


class CPM(nn.Module):
    """Pulls generated centers of one modality toward the other modality (DEEN, section 3.3).

    From Zhang and Wang, CVPR 2023, arXiv 2303.14481. A center is the mean vector of one identity's images in one
    modality: c of the original, copy 0, and g of a generated copy. With Euclidean distances d, modality m, the other
    modality o, and A_i = d(c_oi, g_mi), the term of identity i is

    - `released`, the authors' code: [margin + A_i - d(c_mi, g_mi)]+ without a gradient through the last distance,
      plus half of [margin + A_i - min_k d(g_mi, g_mk)]+, plus half of [margin + A_i - min_k d(c_mi, c_mk)]+;
    - `paper`: [margin + A_i - d(c_mi, g_mi) - min_k d(c_mi, c_mk)]+

    where k runs over the other identities. The loss is the mean over identities and over both modalities, summed over
    the generated copies. Vectors are not normalized.

    Rows may be in any order, and identities may have any number of rows. An identity that lacks a modality has no term,
    but its centers are negatives for the others. Without another identity, terms with a minimum are 0. Auxiliary
    modalities are not used.

    Args:
        margin: at least 0.
        form: `released` or `paper`.
    """

    reads_parts = False

    least_copies = 2

    def __init__(self, margin: Annotated[float, Ge(0)] = 0.2, form: Literal['released', 'paper'] = 'released') -> None:
        super().__init__()
        self.margin, self.form = margin, form

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = split_copies('CPM', output, context, self.least_copies)  # (B, copies, C)
        names, group_of = identities[:: context.copies].unique(return_inverse=True)  # (N,), (B,)
        member = nn.functional.one_hot(group_of, len(names)).T  # (N, B)
        images = context.copied(1)
        centers, present = [], []
        for rows in (images.rows(m) for m in MODALITIES):
            count = member[:, rows].sum(dim=1)  # (N,)
            share = (member[:, rows] / count.clamp_min(1)[:, None]).to(feature.dtype)
            # under autocast the product would be in half precision
            with full_precision(feature):
                centers.append(torch.einsum('nb,bkc->knc', share, feature[rows]))
            present.append(count > 0)
        both = present[0] & present[1]
        visible, infrared = centers
        terms = torch.stack(
            [self._terms(visible, infrared, present[0]), self._terms(infrared, visible, present[1])]
        )  # (2, N)
        return (terms.mean(dim=0) * both).sum() / both.sum().clamp_min(1)  # ()

    def _terms(self, own: Tensor, other: Tensor, present: Tensor) -> Tensor:
        """Returns the (N,) terms of the identities in one modality, summed over generated copies.

        Args:
            own: (copies, N, C) centers in this modality.
            other: (copies, N, C) centers in the other.
            present: (N,) which identities have images in this modality.
        """
        distance = _length(own[:, :, None] - own[:, None, :])  # (copies, N, N)
        is_self = torch.eye(len(present), dtype=torch.bool, device=present.device)
        nearest = distance.masked_fill(is_self | ~present, float('inf')).amin(dim=2)  # (copies, N)
        across = self.margin + _length(other[0] - own[1:])  # (copies - 1, N)
        within = _length(own[0] - own[1:])
        if self.form == 'paper':
            return (across - within - nearest[0]).clamp_min(0).sum(dim=0)
        hinges = [across - within.detach(), across - nearest[1:], across - nearest[0]]
        first, generated, original = (hinge.clamp_min(0) for hinge in hinges)
        return (first + (generated + original) / 2).sum(dim=0)


def _length(difference: Tensor) -> Tensor:
    return difference.square().sum(dim=-1).clamp_min(1e-12).sqrt()  # sqrt has no gradient at 0
