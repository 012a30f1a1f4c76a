"""Nearly the same image of two identities is found, and images of different people are not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from vireid.diagnostics.near_copies import SIDE, near_copies
from vireid.synth import draw, person


def shrunk(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX).convert('L'))


def compressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, 'JPEG', quality=40)
    return Image.open(file).convert('RGB')


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    'compressed again': compressed,
    'half the size': lambda image: image.resize((image.width // 2, image.height // 2)),
    'larger': lambda image: image.resize((image.width * 3 // 2, image.height * 3 // 2)),
    'brighter': lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    'darker': lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    'less contrast': lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    'cut by two percent': lambda image: image.crop(
        (round(0.02 * image.width), round(0.02 * image.height), image.width, image.height)
    ),
}


@pytest.fixture(scope='module')
def crops() -> list[Image.Image]:
    """Twelve people on three cameras each, in this order."""
    return [
        draw(person(5, identity), modality='visible', camera=camera, shot=0, seed=5)
        for identity in range(1, 13)
        for camera in (1, 2, 4)
    ]


def search(images: list[np.ndarray], identities: list[int]) -> list[tuple[int, int]]:
    contents = [image.tobytes() for image in images]
    return [tuple(pair) for pair in near_copies(np.stack(images), np.array(identities), contents)]


def test_different_people_are_no_copies(crops: list[Image.Image]) -> None:
    assert search([shrunk(image) for image in crops], [row // 3 for row in range(36)]) == []


@pytest.mark.parametrize('change', COPIES)
def test_a_copy_under_another_name_is_found(crops: list[Image.Image], change: str) -> None:
    images = [shrunk(image) for image in crops]
    for row in (4, 31):
        other = [*images, shrunk(COPIES[change](crops[row]))]
        assert search(other, [*(r // 3 for r in range(36)), -1]) == [(row, 36)]


def test_copies_of_one_identity_and_equal_files_are_passed_over(crops: list[Image.Image]) -> None:
    first, again = shrunk(crops[0]), shrunk(compressed(crops[0]))
    assert search([first, again], [7, 7]) == []
    assert search([first, first], [7, 8]) == []
    assert search([first, first, again], [7, 8, 8]) == [(0, 2)]


def test_of_two_identities_the_most_alike_images_are_told(crops: list[Image.Image]) -> None:
    darker, less = shrunk(COPIES['darker'](crops[0])), shrunk(COPIES['cut by two percent'](crops[0]))
    assert search([less, shrunk(crops[0]), darker], [3, 9, 3]) == [(1, 2)]


def test_images_without_contrast_are_alike_and_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    flat = [np.full((SIDE, SIDE), level, np.uint8) for level in (0, 17, 255)]
    noise = [rng.integers(90, 93, (SIDE, SIDE)).astype(np.uint8) for _ in range(3)]
    assert search(flat + noise, [1, 2, 3, 4, 5, 6]) == []


def test_no_image_and_one() -> None:
    assert near_copies(np.zeros((0, SIDE, SIDE), np.uint8), np.zeros(0, np.int64), []) == []
    assert search([np.arange(SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint8)], [1]) == []


def test_the_blocks_see_what_a_loop_over_all_pairs_sees() -> None:
    # many more images than a block, a copy of each twentieth one under another name
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 255, (1200, 8, 8))
    images = list(coarse.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8))
    copies = [np.clip(images[row].astype(int) + 3, 0, 255).astype(np.uint8) for row in range(0, 1200, 20)]
    identities = [*(row % 7 for row in range(1200)), *range(100, 160)]
    found = search(images + copies, identities)
    assert found == [(20 * number, 1200 + number) for number in range(60)]
