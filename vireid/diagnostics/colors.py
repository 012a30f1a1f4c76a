"""Detects images filed under the wrong modality: visible images without color, and infrared images with color."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from vireid.boundary.showing import some
from vireid.core.types import INFRARED, VISIBLE, Sample

# Mean difference of the largest and the smallest channel, in gray levels. Gray images have 0, and up to 0.1 with noisy
# or repeatedly compressed channels; images of a color camera at night have 0.6 and more.
GRAY = 0.5
# How much the channels differ beyond a single tint, in gray levels. Infrared images with a purple tint and noise have
# up to 3.3; of real daytime crops, including people in gray and black, seven of eight have more than 5.
COLORED = 5.0
# A few gray images among the visible ones come from the night; a larger share, or all of an identity, is a mistake.
GRAY_SHARE = 0.05
MAX_PATHS = 3


def channel_spread(image: np.ndarray) -> float:
    """Returns the mean difference of the largest and the smallest channel of an (H, W, 3) uint8 image."""
    red, green, blue = np.moveaxis(image, 2, 0)  # several times faster than a maximum over an axis of three
    highest = np.maximum(np.maximum(red, green), blue)
    return float((highest - np.minimum(np.minimum(red, green), blue)).mean())


def colorfulness(small: np.ndarray) -> float:
    """Returns how much the channels of a shrunk (H, W, 3) uint8 image differ beyond a single tint, in gray levels.

    Fits each channel by a line over the brightness and returns the root mean square of the residuals. It is 0 for gray
    images and for shades of one color, as from a camera without an infrared filter.
    """
    channels = small.reshape(-1, 3).astype(np.float64)
    channels = channels - channels.mean(axis=0)
    brightness = channels.mean(axis=1)
    slope = brightness @ channels / max(float(brightness @ brightness), 1e-9)
    return float(np.sqrt(((channels - brightness[:, None] * slope) ** 2).mean()))


def color_warnings(
    samples: Sequence[Sample],
    spreads: Sequence[float],
    colors: Sequence[float],
    names: Mapping[int, str],
) -> list[str]:
    """Returns the warnings of a dataset check about colors.

    Args:
        samples: the images.
        spreads: `channel_spread` of each.
        colors: `colorfulness` of each.
        names: names of the identities.
    """
    visible = [(s, spread <= GRAY) for s, spread in zip(samples, spreads, strict=True) if s.modality == VISIBLE]
    infrared = [(s, color > COLORED) for s, color in zip(samples, colors, strict=True) if s.modality == INFRARED]
    gray, colored = [s for s, is_gray in visible if is_gray], [s for s, has_color in infrared if has_color]
    if len(gray) > len(visible) / 2 and len(colored) > len(infrared) / 2:
        return [
            f'visible and infrared seem to be swapped: {_of(gray, visible)} visible images are gray, and '
            f'{_of(colored, infrared)} infrared images have colors'
        ]
    warnings = []
    entirely = _all_of(visible)
    if gray and (len(gray) >= GRAY_SHARE * len(visible) or entirely):
        whole = f', and all visible ones of {", ".join(sorted(names.get(i, str(i)) for i in entirely)[:5])}'
        warnings.append(
            f'{_of(gray, visible)} visible images are gray{whole if entirely else ""}; they may be infrared images, or '
            f'from a camera in night mode: {_examples(gray)}'
        )
    if colored:
        warnings.append(
            f'{_of(colored, infrared)} infrared images have colors; they may be visible images, or heat maps in false '
            f'color (save those in gray): {_examples(colored)}'
        )
    return warnings


def _all_of(marked: Sequence[tuple[Sample, bool]]) -> list[int]:
    """Returns the identities with two or more images, all of which are marked."""
    by_identity: dict[int, list[bool]] = defaultdict(list)
    for sample, mark in marked:
        by_identity[sample.identity].append(mark)
    return [identity for identity, marks in by_identity.items() if len(marks) > 1 and all(marks)]


def _of(part: Sequence[object], everything: Sequence[object]) -> str:
    share = 100 * len(part) / len(everything)
    return f'{len(part):,} of {len(everything):,} ({share:.{0 if share >= 1 else 1}f}%)'


def _examples(samples: Sequence[Sample]) -> str:
    return some(sorted(s.path for s in samples), MAX_PATHS, ', ...')
