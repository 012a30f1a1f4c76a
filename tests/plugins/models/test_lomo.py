"""LOMO: by hand, against a second implementation in fractions, its lengths, and the images it cannot describe."""

from __future__ import annotations

import colorsys
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vireid.core.types import VISIBLE
from vireid.errors import Mismatch
from vireid.plugins.models.local_maximal_occurrence import CHUNK, hsv_bins, largest_counts, lomo
from vireid.plugins.models.lomo import LOMO
from vireid.plugins.models.retinex import multiscale_retinex
from vireid.plugins.models.siltp import local_ternary_patterns


def noise(height: int, width: int, images: int = 1, seed: int = 0) -> Tensor:
    """8-bit images of noise; blocks of 3 x 3 pixels, so that similar neighbors occur."""
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (images, 3, -(-height // 3), -(-width // 3)), generator=generator)
    levels = levels.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)[:, :, :height, :width]
    return levels.float() / 255


def hsv_of(red: int, green: int, blue: int) -> list[int]:
    """The bins of a color, by its definition as an angle around the gray axis, in fractions."""
    r, g, b = (Fraction(x, 255) for x in (red, green, blue))
    value, span = max(r, g, b), max(r, g, b) - min(r, g, b)
    if not span:
        hue = Fraction(0)
    elif value == r:
        hue = (g - b) / span % 6
    elif value == g:
        hue = (b - r) / span + 2
    else:
        hue = (r - g) / span + 4
    saturation = span / value if value else Fraction(0)
    return [min(math.floor(8 * x), 7) for x in (hue / 6, saturation, value)]


def literal(levels: np.ndarray) -> np.ndarray:
    """The descriptor of a (3, H, W) 8-bit image: a loop over scales, rows, windows and pixels, in fractions."""
    _, height, width = levels.shape
    colors: Any = [[hsv_of(*(int(v) for v in levels[:, y, x])) for x in range(width)] for y in range(height)]
    gray: Any = [
        [Fraction(round(0.298936 * float(r) + 0.587043 * float(g) + 0.114021 * float(b)), 255) for r, g, b in row]
        for row in levels.transpose(1, 2, 0)
    ]
    counts: dict[str, list[int]] = {'colors': [], '3': [], '5': []}
    for _ in range(3):
        height, width = len(gray), len(gray[0])
        codes: dict[str, Any] = {'colors': [[64 * v + 8 * s + h for h, s, v in row] for row in colors]}
        for radius in (3, 5):
            codes[str(radius)] = [[0] * width for _ in range(height)]
            for y in range(height):
                for x in range(width):
                    around = (y, x + radius), (y - radius, x), (y, x - radius), (y + radius, x)
                    for place, (down, right) in enumerate(around):
                        n = gray[min(max(down, 0), height - 1)][min(max(right, 0), width - 1)]
                        digit = 1 if n < Fraction(7, 10) * gray[y][x] else 2 if n > Fraction(13, 10) * gray[y][x] else 0
                        codes[str(radius)][y][x] += digit * 3**place
        for name, bins in (('colors', 512), ('3', 81), ('5', 81)):
            for top in range(0, height - 9, 5):
                largest = [0] * bins
                for left in range(0, width - 9, 5):
                    window = [codes[name][top + y][left + x] for y in range(10) for x in range(10)]
                    largest = [max(most, window.count(code)) for code, most in enumerate(largest)]
                counts[name] += largest if width >= 10 else []
        square = [(0, 0), (0, 1), (1, 0), (1, 1)]
        places = [[(2 * y, 2 * x) for x in range(width // 2)] for y in range(height // 2)]
        colors = [
            [[sum(colors[y + a][x + b][c] for a, b in square) // 4 for c in range(3)] for y, x in row] for row in places
        ]
        gray = [[sum(gray[y + a][x + b] for a, b in square) / 4 for y, x in row] for row in places]
    logs = [np.log(np.array(part) + 1.0) for part in counts.values()]
    return np.concatenate([part / np.linalg.norm(part) for part in logs])


@pytest.mark.parametrize('size', [(27, 21), (40, 45), (10, 10)], ids=str)
def test_equals_the_literal_loop(size: tuple[int, int]) -> None:
    image = noise(*size)
    wanted = literal((image[0] * 255).round().numpy().astype(int))
    found = lomo(image, dtype=torch.float64)[0].numpy()
    assert found.shape == wanted.shape
    assert np.allclose(found, wanted, rtol=0, atol=1e-10)
    assert np.allclose(LOMO().embed(image, VISIBLE)[0].numpy(), wanted, rtol=0, atol=1e-6)


def test_one_window_by_hand() -> None:
    """Red on the left, gray 128 on the right: their gray levels are 76 and 128."""
    image = torch.zeros(1, 3, 10, 10)
    image[:, 0, :, :5] = 1
    image[:, :, :, 5:] = 128 / 255
    (found,) = lomo(image, dtype=torch.float64)
    wanted = torch.zeros(674, dtype=torch.float64)
    wanted[0 + 8 * 7 + 64 * 7] = wanted[0 + 8 * 0 + 64 * 4] = 2**-0.5  # 50 pixels each
    # radius 3: columns 2 to 4 see a brighter pixel on the right (2 x 1), 5 to 7 a darker one on the left (1 x 9)
    part = np.log([41, 31, 31])
    wanted[[512, 512 + 2, 512 + 9]] = torch.from_numpy(part / np.linalg.norm(part))
    # radius 5: every column sees the other half
    wanted[[593 + 2, 593 + 9]] = 2**-0.5
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)


def test_the_gray_level_of_a_color_by_hand() -> None:
    """(10, 70, 30) is 2.98936 + 41.09301 + 3.42063 = 47.503, so 48; weights of four digits give 47.499."""
    image = torch.full((1, 3, 10, 10), 33 / 255)
    image[0, :, :, :5] = torch.tensor([10, 70, 30])[:, None, None] / 255
    found = lomo(image, dtype=torch.float64)[0, 593:]
    # radius 5: the left half sees 33, darker than 0.7 x 48 = 33.6 (1 x 1); the right half sees 48 (2 x 9)
    wanted = torch.zeros(81, dtype=torch.float64)
    wanted[[1, 18]] = 2**-0.5
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)


def test_a_row_keeps_the_largest_count_of_its_windows() -> None:
    codes = torch.zeros(1, 10, 20, dtype=torch.int64)
    codes[0, :3, 7] = 1  # windows start in columns 0, 5 and 10
    codes[0, :4, 16] = 1
    codes[0, :, 12] = 2
    assert largest_counts(codes, 4).tolist() == [[[97, 4, 10, 0]]]


@pytest.mark.parametrize(
    ('size', 'length'),
    [
        ((128, 48), 26960),
        ((128, 64), 26960),
        ((160, 60), 35722),
        ((256, 128), 57290),
        ((288, 144), 64704),
        ((10, 10), 674),
    ],
)
def test_lengths(size: tuple[int, int], length: int) -> None:
    found = LOMO().embed(noise(*size), VISIBLE)
    assert (found.shape, found.dtype) == ((1, length), torch.float32)
    assert float(found.norm()) == pytest.approx(3**0.5, abs=1e-5)
    assert LOMO().embed(torch.zeros(0, 3, *size), VISIBLE).shape == (0, length)


def test_images_do_not_depend_on_their_batch() -> None:
    images = noise(20, 20, images=CHUNK + 3)
    together = lomo(images)
    assert all(torch.equal(together[i : i + 1], lomo(images[i : i + 1])) for i in range(len(images)))


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=50))
def test_bins_of_colors(colors: list[tuple[int, int, int]]) -> None:
    found = hsv_bins(torch.tensor(colors).float().T[None, :, None, :])[0, :, 0].T.tolist()
    assert found == [hsv_of(*color) for color in colors]


def test_bins_of_colors_agree_with_the_standard_library_but_for_rounding() -> None:
    levels = torch.randint(0, 256, (1, 3, 40, 40), generator=torch.Generator().manual_seed(0))
    found = hsv_bins(levels.float())[0].flatten(1).T.tolist()
    wanted = [
        [min(int(8 * x), 7) for x in colorsys.rgb_to_hsv(*(v / 255 for v in color))]
        for color in levels[0].flatten(1).T.tolist()
    ]
    assert sum(a != b for a, b in zip(found, wanted, strict=True)) <= 2


def test_patterns_of_one_pixel_by_hand() -> None:
    gray = torch.tensor([[[9, 9, 14], [6, 10, 7], [9, 13, 9]]])
    # right 7 is not below 7, up 9 is similar, left 6 is darker (1 x 9), down 13 is not above 13
    assert local_ternary_patterns(gray, 1)[0, 1, 1] == 9
    gray[0, 1, 2], gray[0, 2, 1] = 14, 14
    assert local_ternary_patterns(gray, 1)[0, 1, 1] == 2 * 1 + 1 * 9 + 2 * 27


@settings(max_examples=20)
@given(st.integers(1, 6), st.integers(1, 50), st.integers(0, 5))
def test_patterns_do_not_change_with_the_brightness(radius: int, factor: int, seed: int) -> None:
    gray = torch.randint(0, 256, (2, 4, 5), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(local_ternary_patterns(gray, radius), local_ternary_patterns(factor * gray, radius))


def test_the_colors_of_gray_images_are_gray() -> None:
    gray = noise(128, 48)[:, :1].expand(-1, 3, -1, -1)
    colors = LOMO().embed(gray, VISIBLE)[0, : 40 * 512].reshape(40, 512)
    assert colors.any(dim=0).nonzero().flatten().tolist() == [0, 64, 128, 192, 256, 320, 384, 448]


def test_retinex_equals_the_literal_loop() -> None:
    image = noise(7, 5).double()
    wanted = np.zeros((3, 7, 5))
    levels = image[0].numpy() * 255
    for channel, y, x in np.ndindex(3, 7, 5):
        for sigma in (5, 20):
            weights = {
                (v, u): math.exp(-((v - y) ** 2 + (u - x) ** 2) / (2 * sigma**2)) for v in range(7) for u in range(5)
            }
            around = sum(w * levels[(channel, *at)] for at, w in weights.items()) / sum(weights.values())
            wanted[channel, y, x] += (math.log(1 + levels[channel, y, x]) - math.log(1 + around)) / 2
    wanted = (wanted - wanted.min()) / (wanted.max() - wanted.min())
    assert np.allclose(multiscale_retinex(image)[0].numpy(), wanted, rtol=0, atol=1e-10)


def test_retinex_evens_out_the_illumination_and_changes_colors_only() -> None:
    image = noise(60, 40)
    dimmed = image * torch.linspace(0.5, 1, 40)
    before = float((image - dimmed).abs().mean())
    after = float((multiscale_retinex(image) - multiscale_retinex(dimmed)).abs().mean())
    assert after < before / 4
    plain, even = lomo(image), lomo(image, retinex=True)
    colors = plain.shape[1] // 674 * 512
    assert torch.equal(plain[:, colors:], even[:, colors:])
    assert not torch.allclose(plain[:, :colors], even[:, :colors], atol=0.01)


@pytest.mark.parametrize('level', [0.0, 0.5, 1.0])
@pytest.mark.parametrize('retinex', [False, True])
def test_a_constant_image_counts_one_color_and_one_pattern(level: float, retinex: bool) -> None:
    found = LOMO(retinex).embed(torch.full((1, 3, 20, 20), level), VISIBLE)[0].reshape(-1)
    assert found.isfinite().all()
    assert int((found > 0).sum()) == 3 * 4  # three parts, four rows of windows: three and one


def test_what_cannot_be_is_refused() -> None:
    for size in ((1, 1), (9, 40), (40, 9)):
        with pytest.raises(Mismatch, match=rf'(?s)LOMO .* {size[0]} x {size[1]}.* 10 x 10'):
            LOMO().embed(torch.zeros(1, 3, *size), VISIBLE)
    with pytest.raises(Mismatch, match=r'(?s)LOMO .* -1 to 0.*Normalize'):
        LOMO().embed(torch.eye(20).expand(1, 3, 20, 20) * -1 + 0.0, VISIBLE)
