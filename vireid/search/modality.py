"""Guesses whether an image was taken in visible or in infrared light."""

from __future__ import annotations

import numpy as np

from vireid.core.types import INFRARED, VISIBLE, Modality

COLORFUL = 2.0  # gray levels; a gray image saved as a color JPEG stays below 1


def guess_modality(pixels: np.ndarray) -> Modality:
    """Returns `visible` if an image has colors, else `infrared`.

    A visible image without colors, such as one of a black-and-white camera, is taken for infrared.

    Args:
        pixels: (H, W, 3) uint8.
    """
    channels = pixels.astype(np.int16)
    spread = channels.max(axis=2) - channels.min(axis=2)
    return VISIBLE if float(spread.mean()) >= COLORFUL else INFRARED
