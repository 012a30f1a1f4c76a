"""Deep zero-padding: a channel for each modality, in which the images of the others are zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from vireid.core.types import Batch, Modality, joint_order


class ZeroPadding(nn.Module):
    """Makes an image with a channel for each modality: grey in its own, zero in the others (Wu et al., ICCV 2017).

    One network over such images can learn nodes for either modality, or for both. It has no parameters, and is part
    of the embedding.

    Args:
        modalities: channels of the images by modality. Grey is the mean of an image's channels: normalised images
            have no luminance.
    """

    def __init__(self, modalities: Mapping[Modality, int]) -> None:
        super().__init__()
        self.order = joint_order(modalities)
        self.modalities = dict.fromkeys(self.order, len(self.order))

    def forward(self, batch: Batch) -> Batch:
        """Maps (N, C, H, W) images of each of M modalities to (N, M, H, W)."""
        return replace(batch, images={m: self._pad(images, m) for m, images in batch.images.items()})

    def _pad(self, images: Tensor, modality: Modality) -> Tensor:
        grey = images.mean(dim=1, keepdim=True)  # (N, 1, H, W)
        return torch.cat([grey if m == modality else torch.zeros_like(grey) for m in self.order], dim=1)
