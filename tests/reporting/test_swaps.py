"""The swap grid: where each image is, and its colors."""

from __future__ import annotations

import numpy as np
import torch

from vireid.core.types import INFRARED, VISIBLE
from vireid.reporting.swaps import MAX_IMAGES, SIZE, swap_grid


def sums(batch, rows, columns):
    """Swaps constant images: the sum of row and column, in units of the transformed images."""
    assert not set(batch.identities[rows].tolist()) & set(batch.identities[columns].tolist())
    return batch.images[rows][:, None] + batch.images[columns][None]


def constant(level: float) -> torch.Tensor:
    return torch.full((3, 32, 16), level)


def test_each_image_is_in_its_row_and_column_in_its_color():
    sides = [(constant(level), VISIBLE) for level in (-1.0, -0.6)]
    sides[1:1] = [(constant(level), INFRARED) for level in (0.2, 0.6, 1.0)]
    grid = swap_grid(sums, sides, (constant(-1.0), constant(1.0)), 'cpu')
    assert grid.shape == (3, 4, *SIZE, 3)
    levels = np.array([[1.0, 0.2, 0.6, 1.0], [-1.0, -0.8, -0.4, 0.0], [-0.6, -0.4, 0.0, 0.4]])
    assert np.allclose(grid, ((levels + 1) / 2)[:, :, None, None, None], atol=1e-3)


def test_colors_beyond_black_and_white_are_cut_and_most_images_are_left_out():
    sides = [(constant(0.9), m) for m in (VISIBLE, INFRARED) for _ in range(MAX_IMAGES + 2)]
    grid = swap_grid(sums, sides, (constant(-1.0), constant(1.0)), 'cpu')
    assert grid.shape[:2] == (MAX_IMAGES + 1, MAX_IMAGES + 1)
    assert (grid[1:, 1:] == 1).all()
