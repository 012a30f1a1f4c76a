"""Images from files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from vireid.core.errors import VireidError
from vireid.core.types import Sample

Transform = Callable[..., Tensor]  # image -> image; given the `modality` if it names it
Reader = Callable[[str], Tensor]  # path -> (3, H, W) uint8


def read_image(path: str | Path) -> Tensor:
    """Decodes an image to (3, H, W) uint8.

    Grey images get three equal channels; 16-bit ones are scaled so that 65535 becomes 255.

    Raises:
        VireidError: if the file is missing, no image, or truncated; the message names it.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith('I;16') or image.mode == 'I':
                array = (np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
                array = np.repeat(array[:, :, None], 3, axis=2)
            else:
                # a palette with a table of transparency: straight to RGB, Pillow warns that the table is lost
                through = 'RGBA' if image.mode == 'P' and 'transparency' in image.info else 'RGB'
                array = np.asarray(image.convert(through).convert('RGB'))
    except FileNotFoundError as error:
        raise VireidError(f'image {path} is gone', todo='check the data folder') from error
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise VireidError(
            f'image {path} cannot be read: {error}', todo='replace it, or take it out of the data folder'
        ) from error
    return torch.from_numpy(array.copy()).permute(2, 0, 1)


def fingerprint(samples: Sequence[Sample]) -> np.ndarray:
    """Returns a (N,) int64 number for each image's file, the same on every run."""
    folder = cache(os.path.realpath)  # of a few folders, not of each image

    def digest(path: str) -> bytes:
        place = f'{folder(os.path.dirname(path))}/{os.path.basename(path)}'
        return hashlib.blake2b(place.encode(), digest_size=8).digest()

    return np.frombuffer(b''.join(digest(s.path) for s in samples), dtype=np.int64)
