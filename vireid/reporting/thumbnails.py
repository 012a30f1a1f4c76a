"""Decodes thumbnails from outside: small JPEGs only."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

MOST_PIXELS = 2**20  # of a thumbnail to decode; vireid's own are 64 x 128


def decode(data: bytes) -> np.ndarray | None:
    """Returns a JPEG as (H, W, 3) uint8; None if it is damaged, has another format or is too large for a thumbnail."""
    try:
        with Image.open(io.BytesIO(data), formats=['JPEG']) as image:
            if image.format != 'JPEG' or image.width * image.height > MOST_PIXELS:
                return None
            return np.asarray(image.convert('RGB'))
    except Exception:  # a damaged image may fail in any way
        return None
