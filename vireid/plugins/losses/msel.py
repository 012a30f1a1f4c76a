"""MSEL: the modality-shared enhancement loss of PMT."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.types import Context, HeadOutput
from vireid.errors import TooFew
from vireid.plugins.losses.unit_distances import distances, one_vector
from vireid.plugins.modality_numbers import modality_numbers


class MSEL(nn.Module):
    """Makes the images of an identity as far from those in the other modality as from those in their own (PMT).

    From Lu et al., AAAI 2023, arXiv 2212.00226. With Euclidean distances d between features that are not normalized,
    let I_i be the mean of d(i, j) over the other images j of image i's identity and modality, and C_i the mean over the
    images of its identity in the other modalities. The loss is the mean over modalities of the mean over their images
    of (C_i - I_i)^2.

    An image has no term if its identity has no other image in the same modality, or none in any other modality. A
    modality without terms is skipped. A batch in which no identity has images of two modalities gives 0.

    Raises:
        TooFew: when called, if identities have images of two modalities, but none has two images of the same one:
            nothing could be learned from such batches.
    """

    reads_parts = False

    def forward(self, output: HeadOutput, identities: Tensor, context: Context) -> Tensor:
        feature = one_vector('MSEL', output)
        distance = distances(feature, feature)  # (B, B)
        modality = modality_numbers(context, identities.device)  # (B,)
        identity = identities[:, None] == identities[None, :]
        within = modality[:, None] == modality[None, :]
        itself = torch.eye(len(feature), dtype=torch.bool, device=identity.device)
        own, others = identity & within & ~itself, identity & ~within
        if bool(others.any()) and not bool(own.any()):
            raise TooFew(
                'MSEL compares distances within and across modalities, but no identity of the batch has two images of '
                'one modality',
                allowed='batches with at least 2 images of an identity in a modality',
                todo='set sampler.visible=2 and sampler.infrared=2, or more',
            )
        gap = _row_means(distance, others) - _row_means(distance, own)  # (B,)
        counted = own.any(dim=1) & others.any(dim=1)
        # (M, B): whose terms are averaged
        members = torch.nn.functional.one_hot(modality, len(context.counts)).T * counted
        count = members.sum(dim=1)
        means = (members * gap.square()).sum(dim=1) / count.clamp_min(1)  # (M,)
        return means.sum() / (count > 0).sum().clamp_min(1)  # ()


def _row_means(values: Tensor, mask: Tensor) -> Tensor:
    return values.masked_fill(~mask, 0).sum(dim=1) / mask.sum(dim=1).clamp_min(1)
