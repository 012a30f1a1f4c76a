"""The triplet loss of Hi-CMD on cosine similarities."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vireid.core.types import HeadOutput
from vireid.plugins.full_precision import full_precision
from vireid.plugins.losses.unit_distances import unit_feature


class CosineTriplet(nn.Module):
    """Separates the hardest cosine similarities and pulls them to 1 and -1 (Hi-CMD; Choi et al., arXiv 1912.01230).

    Let p be the lowest cosine similarity between an image and the images of its identity, itself included, and n the
    highest one to another identity. The loss is the mean over images of

        [n - p + margin]_+ + pull ((1 - p)^2 + (1 + n)^2).

    An image that is the only one of its identity has p = 1. One without negatives adds only its (1 - p)^2.

    Args:
        margin: at least 0.
        pull: weight of the squares, at least 0.
    """

    reads_parts = False

    def __init__(self, margin: Annotated[float, Ge(0)] = 0.5, pull: Annotated[float, Ge(0)] = 1.0) -> None:
        super().__init__()
        self.margin, self.pull = margin, pull

    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        feature = unit_feature('CosineTriplet', output)
        same = identities[:, None] == identities[None, :]  # (B, B)
        with full_precision(feature):
            cosine = feature @ feature.T
        itself = torch.eye(len(same), dtype=torch.bool, device=same.device)
        cosine = cosine.masked_fill(itself, 1.0)  # the product differs from 1 in the last digits, with a gradient
        positive = cosine.masked_fill(~same, float('inf')).amin(dim=1)
        negative = cosine.masked_fill(same, float('-inf')).amax(dim=1)
        alone = same.all(dim=1)
        hinge = (negative - positive + self.margin).clamp_min(0)  # 0 without negatives
        pushed = (1 + negative.masked_fill(alone, -1)).square()
        return (hinge + self.pull * ((1 - positive).square() + pushed)).mean()  # ()
