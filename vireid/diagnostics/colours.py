"""Visible images without colour, and infrared ones with: images that lie in the other modality's place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from vireid.core.types import INFRARED, VISIBLE, Sample

# Mean difference of the largest and the smallest channel, in grey levels. Grey images have 0 and, from noisy or
# repeatedly compressed channels, up to 0.1; pictures of a colour camera at night have 0.6 and more.
GREY = 0.5
# What the channels differ by beyond one tint, in grey levels. Infrared images with a purple tint and noise have up to
# 3.3; of real crops by day, people in grey and black among them, seven of eight have more than 5.
COLOURED = 5.0
# A few grey images among the visible ones are from the night; a larger share, or all of a person, is a mistake.
GREY_SHARE = 0.05
SHOWN = 3


def channel_spread(image: np.ndarray) -> float:
    """Returns the mean difference of the largest and the smallest channel of an (H, W, 3) uint8 image."""
    red, green, blue = np.moveaxis(image, 2, 0)  # some times faster than the maximum over an axis of three
    highest = np.maximum(np.maximum(red, green), blue)
    return float((highest - np.minimum(np.minimum(red, green), blue)).mean())


def colourfulness(small: np.ndarray) -> float:
    """Returns what the channels of a shrunk (H, W, 3) uint8 image differ by beyond one tint, in grey levels.

    Each channel is fitted by a line over the brightness; the root mean square of what is left is 0 for grey images and
    those in shades of one colour, such as a camera's without an infrared filter.
    """
    channels = small.reshape(-1, 3).astype(np.float64)
    channels = channels - channels.mean(axis=0)
    brightness = channels.mean(axis=1)
    slope = brightness @ channels / max(float(brightness @ brightness), 1e-9)
    return float(np.sqrt(((channels - brightness[:, None] * slope) ** 2).mean()))


def colour_warnings(
    samples: Sequence[Sample],
    spreads: Sequence[float],
    colours: Sequence[float],
    names: Mapping[int, str],
) -> list[str]:
    """Returns what a check has to tell.

    Args:
        samples: the images.
        spreads: `channel_spread` of each.
        colours: `colourfulness` of each.
        names: of the identities.
    """
    visible = [(s, spread <= GREY) for s, spread in zip(samples, spreads, strict=True) if s.modality == VISIBLE]
    infrared = [(s, colour > COLOURED) for s, colour in zip(samples, colours, strict=True) if s.modality == INFRARED]
    grey, coloured = [s for s, is_grey in visible if is_grey], [s for s, has_colour in infrared if has_colour]
    if len(grey) > len(visible) / 2 and len(coloured) > len(infrared) / 2:
        return [
            f'visible and infrared look exchanged: {_of(grey, visible)} visible images are grey, and '
            f'{_of(coloured, infrared)} infrared ones have colours'
        ]
    warnings = []
    entirely = _all_of(visible)
    if grey and (len(grey) >= GREY_SHARE * len(visible) or entirely):
        whole = f', and all visible ones of {", ".join(sorted(names.get(i, str(i)) for i in entirely)[:5])}'
        warnings.append(
            f'{_of(grey, visible)} images named visible are grey{whole if entirely else ""}: infrared images, or a '
            f'camera in night mode: {_examples(grey)}'
        )
    if coloured:
        warnings.append(
            f'{_of(coloured, infrared)} images named infrared have colours: visible images, or a heat map in false '
            f'colours (save such ones in grey): {_examples(coloured)}'
        )
    return warnings


def _all_of(marked: Sequence[tuple[Sample, bool]]) -> list[int]:
    """Returns the identities with two images or more, all of which are marked."""
    by_identity: dict[int, list[bool]] = defaultdict(list)
    for sample, mark in marked:
        by_identity[sample.identity].append(mark)
    return [identity for identity, marks in by_identity.items() if len(marks) > 1 and all(marks)]


def _of(some: Sequence[object], everything: Sequence[object]) -> str:
    share = 100 * len(some) / len(everything)
    return f'{len(some):,} of {len(everything):,} ({share:.{0 if share >= 1 else 1}f} %)'


def _examples(samples: Sequence[Sample]) -> str:
    return ', '.join(sorted(s.path for s in samples)[:SHOWN]) + (', ...' if len(samples) > SHOWN else '')
