"""The swap grid of a model that separates identity from pose and illumination, for reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vireid.core.types import INFRARED, VISIBLE, Batch, Modality

SIZE = (96, 48)  # height, width of an image in the grid
MAX_IMAGES = 5  # images of each modality


def swap_grid(
    grid: Callable[..., Tensor],
    sides: Sequence[tuple[Tensor, Modality]],
    limits: tuple[Tensor, Tensor],
    device: Any,
) -> np.ndarray:
    """Returns the grid: visible images on the left, infrared images on top, the decoded images between them.

    Args:
        grid: `swap_grid` of a model.
        sides: (3, H, W) images, transformed, and their modalities, both of them among them; the first five of each are
            used.
        limits: a black and a white (3, H, W) image, transformed as the others.
        device: the model's device.

    Returns:
        (R + 1, C + 1, h, w, 3) float16 in 0..1; the upper left image is white. A row keeps the identity (prototype and
        style), a column pose and illumination.
    """
    images = {m: torch.stack([x for x, own in sides if own == m][:MAX_IMAGES]).to(device) for m in (VISIBLE, INFRARED)}
    people = {VISIBLE: torch.arange(len(images[VISIBLE])), INFRARED: torch.arange(len(images[INFRARED])) + MAX_IMAGES}
    decoded = grid(Batch(images, people), VISIBLE, INFRARED)  # (R, C, 3, H, W)
    black, white = (limit.to(device) for limit in limits)
    top = torch.cat([white[None], images[INFRARED]])[None]
    whole = torch.cat([top, torch.cat([images[VISIBLE][:, None], decoded], dim=1)])
    shown = ((whole - black) / (white - black)).float()
    small = F.interpolate(shown.flatten(0, 1), SIZE, mode='bilinear', antialias=True).clamp(0, 1)
    return small.unflatten(0, whole.shape[:2]).permute(0, 1, 3, 4, 2).cpu().numpy().astype(np.float16)
