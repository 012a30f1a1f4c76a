"""ZeroPadding: one channel per modality, zero for images of the other modalities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from vireid.core.types import Batch, Modality, joint_order


class ZeroPadding(nn.Module):
    """Deep zero-padding: gray in the image's own channel, zero in the others (Wu et al., ICCV 2017).

    See doi 10.1109/ICCV.2017.575.

    A single network on such images can learn nodes specific to one modality, and shared ones. The translator has no
    parameters and is also run when images are embedded.

    Args:
        modalities: image channels by modality. Gray is the mean over an image's channels, not the luminance, as images
            are already normalized.
    """

    def __init__(self, modalities: Mapping[Modality, int]) -> None:
        super().__init__()
        self.order = joint_order(modalities)
        self.modalities = dict.fromkeys(self.order, len(self.order))

    def forward(self, batch: Batch) -> Batch:
        """Maps the (N, C, H, W) images of each of M modalities to (N, M, H, W)."""
        return replace(batch, images={m: self._pad(images, m) for m, images in batch.images.items()})

    def _pad(self, images: Tensor, modality: Modality) -> Tensor:
        gray = images.mean(dim=1, keepdim=True)  # (N, 1, H, W)
        return torch.cat([gray if m == modality else torch.zeros_like(gray) for m in self.order], dim=1)
