"""LOMO: local maximal occurrence of colors and textures in a batch of images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from vireid.plugins.models.retinex import multiscale_retinex
from vireid.plugins.models.siltp import PATTERNS, local_ternary_patterns

WINDOW, STEP = 10, 5
SCALES = 3
COLORS = 8**3
RADII = (3, 5)
LEVELS = 255
CHUNK = 4  # images whose histograms are in memory at once: they fit a CPU cache


def lomo(images: Tensor, retinex: bool = False, dtype: torch.dtype = torch.float32) -> Tensor:
    """Computes the LOMO descriptor (Liao et al., CVPR 2015, arXiv 1406.4216).

    Windows of 10 x 10 pixels, 5 apart, each count the colors (8 x 8 x 8 bins of hue, saturation and value) and the
    SILTP patterns (81 for each of the radii 3 and 5) of their pixels. Of the windows of a row, the largest count of
    each bin is kept. This is done at three scales, each half the previous one, until no window fits. The counts become
    log(1 + count), and the colors and the patterns of each radius are normalized to length 1 separately, so the length
    of a descriptor is sqrt(3).

    Pixels are rounded to 8 bits, and bins and patterns are computed from integers, so the counts are exact. A smaller
    scale takes the mean of 2 x 2 pixels: of the gray levels, unrounded, for the patterns; of the bins, rounded down,
    for the colors. An odd last row or column is dropped.

    Args:
        images: (B, 3, H, W) floats in 0..1.
        retinex: even out the illumination before the colors are counted; see `multiscale_retinex`.
        dtype: dtype of the result.

    Returns:
        (B, 674 R) descriptors for R rows of windows over all scales: colors, patterns of radius 3, and of radius 5,
        each by scale, then row from the top, then bin. There are none if no window fits.
    """
    parts = [_lomo(chunk, retinex, dtype) for chunk in images.split(CHUNK)]
    return torch.cat(parts) if parts else images.new_zeros(0, _length(*images.shape[2:]), dtype=dtype)


def _lomo(images: Tensor, retinex: bool, dtype: torch.dtype) -> Tensor:
    levels = _levels(images)
    red, green, blue = levels.int().unbind(dim=1)
    # the weights of rgb2gray in six digits; the four that MATLAB's documentation prints change 1.3% of all colors
    gray = ((298_936 * red + 587_043 * green + 114_021 * blue + 500_000) // 1_000_000).float()
    colors = hsv_bins(_levels(multiscale_retinex(images)) if retinex else levels)
    parts = [_pyramid(colors, lambda bins: bins[:, 0] + 8 * bins[:, 1] + 64 * bins[:, 2], COLORS, mean=True)]
    for radius in RADII:
        parts.append(_pyramid(gray, partial(local_ternary_patterns, radius=radius), PATTERNS, mean=False))
    logs = [counts.to(dtype).log1p() for counts in parts]
    return torch.cat([torch.nn.functional.normalize(part, dim=1) for part in logs], dim=1)


def hsv_bins(levels: Tensor) -> Tensor:
    """Returns the bins of hue, saturation and value, each 0 to 7, in dimension 1.

    A gray pixel has hue 0 and saturation 0. Quotients of such small integers are never rounded to the next integer.

    Args:
        levels: (B, 3, H, W) float32 integers, red, green and blue in 0..255.
    """
    red, green, blue = levels.unbind(dim=1)
    high, low = torch.maximum(torch.maximum(red, green), blue), torch.minimum(torch.minimum(red, green), blue)
    span = high - low
    # the hue is sixths / (6 span)
    sixths = torch.where(
        high == red, green - blue, torch.where(high == green, 2 * span + blue - red, 4 * span + red - green)
    )
    sixths = torch.where(sixths < 0, sixths + 6 * span, sixths)
    hue, saturation = 4 * sixths / (3 * span).clamp(min=1), 8 * span / high.clamp(min=1)
    return torch.stack([hue, saturation, 8 * high / LEVELS], dim=1).floor_().clamp_(max=7)


def largest_counts(codes: Tensor, bins: int) -> Tensor:
    """Counts codes in windows, and returns the largest count of each row of windows.

    Args:
        codes: (B, H, W) integers of any dtype in 0..bins - 1.
        bins: number of codes.

    Returns:
        (B, rows, bins) uint8 counts, at most 100.
    """
    batch, rows, columns = codes.shape[0], codes.shape[1] // STEP, codes.shape[2] // STEP
    cells = codes[:, : rows * STEP, : columns * STEP].reshape(batch, rows, STEP, columns, STEP)
    cells = cells.transpose(2, 3).reshape(batch, rows, columns, STEP * STEP).long()
    ones = torch.ones((), dtype=torch.uint8, device=codes.device).expand(cells.shape)
    counts = torch.zeros(batch, rows, columns, bins, dtype=torch.uint8, device=codes.device)
    counts.scatter_add_(3, cells, ones)
    # a window is 2 x 2 cells
    counts = counts[:, :-1] + counts[:, 1:]
    counts = counts[:, :, :-1] + counts[:, :, 1:]
    return counts.amax(dim=2)


def _pyramid(values: Tensor, code: Callable[[Tensor], Tensor], bins: int, mean: bool) -> Tensor:
    """Returns the (B, n) largest counts of all scales; between scales, values are summed, or averaged, 2 x 2."""
    counts = []
    for _ in range(SCALES):
        if min(values.shape[-2:]) < WINDOW:
            break
        counts.append(largest_counts(code(values), bins).flatten(1))
        height, width = (n // 2 * 2 for n in values.shape[-2:])
        kept = values[..., :height, :width]
        values = kept[..., ::2, ::2] + kept[..., 1::2, ::2] + kept[..., ::2, 1::2] + kept[..., 1::2, 1::2]
        values = (values / 4).floor() if mean else values  # patterns are the same for sums as for means
    return torch.cat(counts, dim=1) if counts else values.new_zeros(len(values), 0)


def _levels(images: Tensor) -> Tensor:
    return (images.float() * LEVELS).round().clamp(0, LEVELS)


def _length(height: int, width: int) -> int:
    rows = 0
    for _ in range(SCALES):
        if min(height, width) >= WINDOW:
            rows += height // STEP - WINDOW // STEP + 1
        height, width = height // 2, width // 2
    return rows * (COLORS + 2 * PATTERNS)
