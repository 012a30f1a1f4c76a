"""DCL: the discriminative center loss of PMT."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.core.types import HeadOutput
from vireid.plugins.full_precision import full_precision
from vireid.plugins.losses.unit_distances import distances, one_vector


class DCL(nn.Module):
    """Pulls images to the center of their identity, relative to the distance of nearby images of others (PMT).

    From Lu et al., AAAI 2023, arXiv 2212.00226. The center c_i is the mean feature of all images of identity i, of any
    modality. With Euclidean distances d between features that are not normalized, the loss is P / N. P is the mean of
    d(c_i, x) over all identities and their images. For N, let m_i be the mean of d(c_i, x) over all images of other
    identities, and n_i the mean over those of them that are nearer than m_i; N is the mean of n_i over identities.

    If all images of others are equally far from a center, none is nearer than the mean, and n_i is m_i. If all features
    are equal, the loss is 1. A batch with one identity gives 0. The order of the rows does not matter.
    """

    reads_parts = False

    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        feature = one_vector('DCL', output)
        own = identities.unique()[:, None] == identities[None, :]  # (I, B)
        # under autocast the products would be in half precision, where squares overflow and near vectors cancel
        with full_precision(feature):
            centers = own.to(feature.dtype) @ feature / own.sum(dim=1, keepdim=True)  # (I, C)
        distance = distances(centers, feature)  # (I, B)
        positive = distance.masked_fill(~own, 0).sum() / own.sum()  # P
        mean = _row_means(distance, ~own)  # (I, 1): m
        near = ~own & (distance < mean)
        near = torch.where(near.any(dim=1, keepdim=True), near, ~own)
        negative = _row_means(distance, near).mean()  # N; with several identities, every one has negatives
        return positive / negative if len(own) > 1 else 0 * positive  # ()


def _row_means(values: Tensor, mask: Tensor) -> Tensor:
    return values.masked_fill(~mask, 0).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp_min(1)
