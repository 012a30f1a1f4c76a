"""HOG: equal to scikit-image's and to a literal loop, by hand, and the images it cannot describe."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from vireid.core.types import VISIBLE
from vireid.errors import Mismatch, WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.models.gradient_histograms import gradient_histograms
from vireid.plugins.models.hog import HOG

# 9 and 7 orientations have no border at 45 degrees, where the processor's rounding decides between two of them
SETTINGS = [
    {},
    {'block': 2},
    {'cell': 7, 'orientations': 7},
    {'cell': 5, 'block': 1},
    {'sqrt': True, 'block': 2},
]


def noise(height: int, width: int, images: int = 2, seed: int = 0) -> Tensor:
    """8-bit images of noise, in which equal gradients of two channels and right angles occur."""
    levels = torch.randint(0, 32, (images, 3, height, width), generator=torch.Generator().manual_seed(seed))
    return levels.double() / 31


def literal(image: np.ndarray, orientations: int = 9, cell: int = 8, block: int = 3, sqrt: bool = False) -> list[float]:
    """The descriptor of a (3, H, W) image, pixel by pixel."""
    image = np.sqrt(image) if sqrt else image
    height, width = image.shape[1:]
    h, w = height // cell, width // cell
    cells = np.zeros((h, w, orientations))
    for y in range(h * cell):
        for x in range(w * cell):
            strongest, degrees = -1.0, 0.0
            for channel in image:
                down = channel[y + 1, x] - channel[y - 1, x] if 0 < y < height - 1 else 0.0
                right = channel[y, x + 1] - channel[y, x - 1] if 0 < x < width - 1 else 0.0
                if math.hypot(down, right) > strongest:
                    strongest, degrees = math.hypot(down, right), math.degrees(math.atan2(down, right)) % 180
            cells[y // cell, x // cell, int(degrees * orientations / 180) % orientations] += strongest / cell**2
    found: list[float] = []
    for y in range(h - block + 1):
        for x in range(w - block + 1):
            vector = cells[y : y + block, x : x + block].ravel()
            vector = np.minimum(vector / math.sqrt((vector**2).sum() + 1e-10), 0.2)
            found += list(vector / math.sqrt((vector**2).sum() + 1e-10))
    return found


@pytest.mark.parametrize('settings', SETTINGS, ids=str)
def test_equals_the_literal_loop(settings: dict) -> None:
    images = noise(35, 26)
    wanted = np.array([literal(image.numpy(), **settings) for image in images])
    assert np.allclose(gradient_histograms(images, **settings).numpy(), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize('settings', SETTINGS, ids=str)
def test_equals_scikit_image(settings: dict) -> None:
    feature = pytest.importorskip('skimage.feature')
    images = noise(67, 45)
    if settings.get('sqrt'):  # whose root is exact: other roots make ties between channels that rounding decides
        images = images.square()
    named = {'orientations': 9, 'cell': 8, 'block': 3, 'sqrt': False, **settings}
    wanted = [
        feature.hog(
            image.numpy(),
            orientations=named['orientations'],
            pixels_per_cell=(named['cell'],) * 2,
            cells_per_block=(named['block'],) * 2,
            transform_sqrt=named['sqrt'],
            block_norm='L2-Hys',
            channel_axis=0,
        )
        for image in images
    ]
    # scikit-image adds up the votes of a cell in float32
    assert np.allclose(gradient_histograms(images, **settings).numpy(), wanted, rtol=0, atol=1e-6)


def test_an_edge_by_hand() -> None:
    images = torch.zeros(1, 3, 8, 8)
    images[:, 1, :, 4:] = 1  # green on the right: a gradient to the right in columns 3 and 4, at 0 degrees
    found = gradient_histograms(images, block=1)[0]
    # 16 votes of 1 over 64 pixels, normalized to 1, clipped to 0.2, normalized to 1
    assert found.tolist() == pytest.approx([1, 0, 0, 0, 0, 0, 0, 0, 0], abs=1e-6)
    images = images.transpose(2, 3)  # at 90 degrees, in the bin of 80 to 100
    assert gradient_histograms(images, block=1)[0].argmax() == 4


@pytest.mark.parametrize(
    ('size', 'block', 'length'),
    [((128, 64), 2, 3780), ((128, 48), 2, 2700), ((128, 48), 3, 4536), ((288, 144), 2, 21420)],
)
def test_lengths(size: tuple[int, int], block: int, length: int) -> None:
    assert HOG(block=block).embed(torch.zeros(1, 3, *size), VISIBLE).shape == (1, length)


def test_a_constant_image_is_zero_and_no_images_are_none() -> None:
    assert not HOG().embed(torch.full((2, 3, 16, 16), 0.5), VISIBLE).any()
    assert HOG().embed(torch.zeros(0, 3, 16, 24), VISIBLE).shape == (0, 72)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(Mismatch, match=r'(?s)HOG .* 1 x 1.* 16 x 16'):
        HOG().embed(torch.zeros(1, 3, 1, 1), VISIBLE)
    for pixels in (
        torch.full((1, 3, 16, 16), -2.0),
        torch.full((1, 3, 16, 16), 255.0),
        torch.full((1, 3, 16, 16), torch.nan),
    ):
        with pytest.raises(Mismatch, match=r'(?s)HOG .*Normalize'):
            HOG().embed(pixels, VISIBLE)
    for wrong in ({'orientations': 0}, {'cell': 0}, {'block': 0}):
        with pytest.raises(WrongValue, match=f'{next(iter(wrong))} is 0'):
            create_manager().components.build('models', {'type': 'HOG', **wrong}, where='model')
