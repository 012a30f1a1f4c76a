"""Which modality an image seems to have."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vireid.search.gallery import find_gallery
from vireid.search.modality import guess_modality


def test_colors_are_visible_and_equal_channels_infrared():
    gray = np.full((4, 2, 3), 90, dtype=np.uint8)
    assert guess_modality(gray) == 'infrared'
    gray[..., 0] += 2  # the threshold: a mean difference of 2 gray levels
    assert guess_modality(gray) == 'visible'
    gray[0, 0] = 90
    assert guess_modality(gray) == 'infrared'


def test_a_gray_image_saved_as_a_color_jpeg_stays_infrared():
    noise = np.random.default_rng(0).integers(256, size=(64, 32, 1), dtype=np.uint8).repeat(3, axis=2)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, 'JPEG', quality=30)
    assert guess_modality(np.array(Image.open(file))) == 'infrared'


@pytest.mark.parametrize(('camera', 'modality'), [(1, 'visible'), (3, 'infrared'), (5, 'visible'), (6, 'infrared')])
def test_synthetic_people_are_told_apart(people, camera, modality):
    _, found = find_gallery(people / f'cam{camera}')
    assert {guess_modality(np.array(Image.open(image.path).convert('RGB'))) for image in found[:20]} == {modality}
