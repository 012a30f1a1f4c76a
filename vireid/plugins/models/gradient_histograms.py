"""Histograms of oriented gradients of a batch of images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

EPS = 1e-5  # keeps blocks without a gradient at 0
CLIP = 0.2


def gradient_histograms(
    images: Tensor, orientations: int = 9, cell: int = 8, block: int = 3, sqrt: bool = False
) -> Tensor:
    """Computes the HOG descriptor of Dalal and Triggs (CVPR 2005) as scikit-image's `hog` does.

    The gradient is [-1, 0, 1] in both directions and 0 at the border; of several channels, each pixel takes the one
    with the largest gradient. A pixel votes with its magnitude for one of the orientations of its cell, unsigned and
    without interpolation. Blocks of cells overlap, one cell apart, and each is normalized by L2-Hys: to length 1,
    clipped at 0.2, to length 1 again. Pixels right of and below the last whole cell have no vote.

    Args:
        images: (B, C, H, W) floats.
        orientations: number of bins O of 0 to 180 degrees.
        cell: side of a cell in pixels.
        block: side b of a block in cells.
        sqrt: take the square root of the images first.

    Returns:
        (B, (h - b + 1)(w - b + 1) b b O) values in 0..1 for h x w cells; all 0 for constant images. There are none if
        no block fits in the image.
    """
    images = images.sqrt() if sqrt else images
    down, right = torch.zeros_like(images), torch.zeros_like(images)
    down[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    right[:, :, :, 1:-1] = images[:, :, :, 2:] - images[:, :, :, :-2]
    magnitude, channel = torch.hypot(down, right).max(dim=1, keepdim=True)  # (B, 1, H, W)
    degrees = torch.atan2(down.gather(1, channel), right.gather(1, channel)).rad2deg() % 180
    bins = (degrees * orientations / 180).long() % orientations  # the remainder may round up to 180
    batch, _, height, width = images.shape
    rows, columns = height // cell - block + 1, width // cell - block + 1
    if rows < 1 or columns < 1:
        return images.new_zeros(batch, 0)
    votes = images.new_zeros(batch, orientations, height, width).scatter_(1, bins, magnitude)
    cells = avg_pool2d(votes, cell)  # (B, O, h, w)
    blocks = cells.unfold(2, block, 1).unfold(3, block, 1).permute(0, 2, 3, 4, 5, 1)
    blocks = blocks.reshape(batch, rows * columns, block * block * orientations)
    return _unit(_unit(blocks).clamp(max=CLIP)).flatten(1)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / (vectors.square().sum(dim=-1, keepdim=True) + EPS**2).sqrt()
