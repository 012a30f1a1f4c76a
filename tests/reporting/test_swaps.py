"""The picture of a swap grid: where each image is, and its colors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vireid.core.errors import VireidError
from vireid.core.types import INFRARED, VISIBLE, Batch
from vireid.reporting.swaps import GAP, SIZE, swap_picture


class Sums:
    """Swaps constant images: the sum of row and column, in units of the transformed images."""

    def swap_grid(self, batch, rows, columns):
        return batch.images[rows][:, None] + batch.images[columns][None]


def constant(*levels: float) -> torch.Tensor:
    return torch.tensor(levels)[:, None, None, None].expand(-1, 3, 32, 16)


def test_each_image_is_in_its_row_and_column_in_its_color():
    images = {VISIBLE: constant(-1.0, -0.6), INFRARED: constant(0.2, 0.6, 1.0)}
    batch = Batch(images, {VISIBLE: torch.arange(2), INFRARED: torch.arange(3)})
    picture = swap_picture(Sums(), batch, (constant(-1.0)[0], constant(1.0)[0]))
    assert picture.shape == (3 * SIZE[0] + 2 * GAP, 4 * SIZE[1] + 3 * GAP, 3)
    assert picture.dtype == np.uint8
    levels = [[1.0, 0.2, 0.6, 1.0], [-1.0, -0.8, -0.4, 0.0], [-0.6, -0.4, 0.0, 0.4]]
    for row in range(3):
        for column in range(4):
            y, x = row * (SIZE[0] + GAP), column * (SIZE[1] + GAP)
            tile = picture[y : y + SIZE[0], x : x + SIZE[1]]
            wanted = 255 * (levels[row][column] + 1) / 2
            assert np.abs(tile - wanted).max() <= 0.51
    assert (picture[SIZE[0] : SIZE[0] + GAP] == 255).all()


def test_a_model_without_swaps_is_told():
    with pytest.raises(VireidError, match='object has no swap grid'):
        swap_picture(object(), Batch({}, {}), (torch.zeros(3, 1, 1), torch.ones(3, 1, 1)))
