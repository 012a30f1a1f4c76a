"""Gray images among the visible ones, and colored ones among the infrared."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.diagnostics.colors import COLORED, GRAY, channel_spread, color_warnings, colorfulness
from vireid.synth import draw, person

RNG = np.random.default_rng(0)
NAMES = {1: 'anna', 2: 'bert'}


def compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, 'JPEG', quality=quality)
    return np.asarray(Image.open(file).convert('RGB'))


@pytest.fixture(scope='module')
def by_day() -> np.ndarray:
    return np.asarray(draw(person(1, 1), modality='visible', camera=1, shot=0, seed=1).convert('RGB'))


def test_the_spread_of_two_pixels() -> None:
    assert channel_spread(np.array([[[10, 10, 10], [10, 30, 16]]], np.uint8)) == 10.0


def test_shades_of_one_tint_have_no_color_and_a_second_one_has() -> None:
    # brightness 20 and 10: every channel is a line over it
    assert colorfulness(np.array([[[30, 20, 10], [15, 10, 5]]], np.uint8)) == pytest.approx(0)
    # equally bright: what differs is color. Each channel is off its mean by 10, 10 and 0
    assert colorfulness(np.array([[[30, 10, 20], [10, 30, 20]]], np.uint8)) == pytest.approx(np.sqrt(200 / 3))


@pytest.mark.parametrize('quality', [30, 90])
def test_gray_stays_gray_in_a_jpeg_file(by_day: np.ndarray, quality: int) -> None:
    gray = by_day.mean(axis=2, keepdims=True).repeat(3, axis=2)
    assert channel_spread(compressed(gray, quality)) <= GRAY
    assert channel_spread(compressed(gray + RNG.normal(0, 1, gray.shape), quality)) <= GRAY


def test_a_color_camera_at_night_is_not_gray(by_day: np.ndarray) -> None:
    gray = by_day.mean(axis=2, keepdims=True)
    night = 0.3 * (gray + 0.25 * (by_day - gray)) + RNG.normal(0, 4, by_day.shape)
    assert channel_spread(compressed(night, 70)) > GRAY
    assert channel_spread(by_day) > GRAY


def test_infrared_with_a_tint_has_no_color_and_a_day_and_false_colors_have(by_day: np.ndarray) -> None:
    def small(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(compressed(pixels, 80)).resize((32, 32), Image.Resampling.BOX))

    gray = by_day.mean(axis=2, keepdims=True)
    purple = gray * np.array([1.0, 0.8, 1.05]) + np.array([10, 0, 15]) + RNG.normal(0, 5, by_day.shape)
    heat = np.concatenate([2 * gray, 255 - 2 * np.abs(gray - 128), 255 - 2 * gray], axis=2)
    assert colorfulness(small(purple)) < COLORED
    assert colorfulness(small(by_day)) > COLORED
    assert colorfulness(small(heat)) > COLORED


def judge(visible: list[float], infrared: list[float]) -> list[str]:
    """Warnings for spreads of visible images and colors of infrared ones, every second of bert."""
    samples = [Sample(f'v{i:03d}.jpg', 1 + i % 2, 1, VISIBLE) for i in range(len(visible))]
    samples += [Sample(f'i{i:03d}.jpg', 1 + i % 2, 2, INFRARED) for i in range(len(infrared))]
    return color_warnings(samples, [*visible, *infrared], [*visible, *infrared], NAMES)


def test_what_is_as_it_should_be_is_not_told() -> None:
    assert judge([20.0] * 100, [0.0] * 100) == []
    assert judge([20.0] * 96 + [0.0] * 4, [0.0] * 100) == []  # from the night
    assert judge([], []) == []


def test_a_larger_share_of_gray_visible_images_is() -> None:
    assert judge([20.0] * 94 + [0.0] * 6, []) == [
        '6 of 100 (6%) visible images are gray; they may be infrared images, or from a camera in night mode: v094.jpg, '
        'v095.jpg, v096.jpg, ...'
    ]


def test_so_are_all_of_one_person() -> None:
    samples = [Sample(f'{i}.jpg', 1 + (i >= 98), 1, VISIBLE) for i in range(100)]
    found = color_warnings(samples, [20.0] * 98 + [0.0] * 2, [20.0] * 98 + [0.0] * 2, NAMES)
    assert found == [
        '2 of 100 (2%) visible images are gray, and all visible ones of bert; they may be infrared images, or from a '
        'camera in night mode: 98.jpg, 99.jpg'
    ]


def test_one_infrared_image_with_colors_is() -> None:
    assert judge([20.0] * 10, [0.0] * 199 + [20.0]) == [
        '1 of 200 (0.5%) infrared images have colors; they may be visible images, or heat maps in false color (save '
        'those in gray): i199.jpg'
    ]


def test_modalities_exchanged_are_one_warning() -> None:
    assert judge([0.0] * 9 + [20.0], [20.0] * 8) == [
        'visible and infrared seem to be swapped: 9 of 10 (90%) visible images are gray, and 8 of 8 (100%) infrared '
        'images have colors'
    ]
