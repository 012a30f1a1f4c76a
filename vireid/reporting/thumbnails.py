"""Decodes thumbnails from outside: small JPEGs only."""

from __future__ import annotations

import io

import numpy as np

from vireid.boundary.image_files import open_image

MAX_PIXELS = 2**16  # of a thumbnail to decode; vireid's own are 64 x 128


def decode(data: bytes) -> np.ndarray | None:
    """Returns a JPEG as (H, W, 3) uint8; None if it is damaged, has another format or is too large for a thumbnail."""
    try:
        with open_image(io.BytesIO(data), 'a thumbnail', MAX_PIXELS) as image:
            if image.format != 'JPEG':
                return None
            return np.asarray(image.convert('RGB'))
    except Exception:  # a damaged image may fail in any way
        return None
