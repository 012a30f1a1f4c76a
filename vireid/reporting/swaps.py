"""The swap grid of a model that separates identity from pose and illumination, as one picture for reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE, Batch, Modality

SIZE = (128, 64)  # height, width of an image in the picture
GAP = 2  # pixels between them


def swap_picture(
    model: Any,
    batch: Batch,
    limits: tuple[Tensor, Tensor],
    rows: Modality = VISIBLE,
    columns: Modality = INFRARED,
) -> np.ndarray:
    """Draws the swap grid: row images on the left, column images on top, the decoded images between them.

    Args:
        model: has `swap_grid(batch, rows, columns)`, which returns (R, C, 3, H, W), as `HiCMD` does.
        batch: transformed images of at least two identities.
        limits: a black and a white (3, H, W) image, transformed as the others.
        rows: modality of the R images that give the identity: prototype and style.
        columns: modality of the C images that give pose and illumination.

    Returns:
        (h, w, 3) uint8 with R + 1 times C + 1 images; the upper left one is white.

    Raises:
        VireidError: if the model has no swap grid, a modality has no images, or all have one identity.
    """
    if not hasattr(model, 'swap_grid'):
        raise VireidError(f'{type(model).__name__} has no swap grid', allowed='models with swap_grid, such as HiCMD')
    black, white = (limit.to(batch.images[rows].device) for limit in limits)
    grid = model.swap_grid(batch, rows, columns)  # (R, C, 3, H, W)
    top = torch.cat([white[None], batch.images[columns]])  # (C + 1, 3, H, W)
    left = batch.images[rows][:, None]  # (R, 1, 3, H, W)
    whole = torch.cat([top[None], torch.cat([left, grid], dim=1)])  # (R + 1, C + 1, 3, H, W)
    count, across = whole.shape[:2]
    shown = ((whole - black) / (white - black)).flatten(0, 1).float()
    tiles = F.interpolate(shown, SIZE, mode='bilinear', antialias=True).clamp(0, 1)
    tiles = F.pad(tiles, (0, GAP, 0, GAP), value=1.0).unflatten(0, (count, across))  # (R + 1, C + 1, 3, h, w)
    picture = tiles.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # rows, columns, colors
    return (255 * picture[:-GAP, :-GAP]).round().byte().cpu().numpy()
