"""Images from files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from vireid.boundary.reading import open_regular, reads
from vireid.core.config.settings import ImageSettings
from vireid.core.errors import VireidError
from vireid.core.types import Sample

Transform = Callable[..., Tensor]  # image -> image; given the `modality` if it names it
Reader = Callable[[str], Tensor]  # path -> (3, H, W) uint8

# Pillow knows many more, and starts programs for some (PostScript) or follows what a file names
FORMATS = ('JPEG', 'PNG', 'BMP', 'TIFF', 'WEBP', 'GIF', 'PPM', 'JPEG2000')
MOST_PIXELS = 32_000_000  # four times a 4K frame; decoding takes up to 20 bytes a pixel


@reads('an image', '*.jpg', '*.png', '*.bmp', '*.tif', '*.webp', todo='replace it, or take it out of the data folder')
def read_image(path: str | Path, max_pixels: int = MOST_PIXELS) -> Tensor:
    """Decodes an image to (3, H, W) uint8.

    Grey images get three equal channels; 16-bit ones are scaled so that 65535 becomes 255.

    Args:
        path: the file.
        max_pixels: a larger image is refused before it is decoded.

    Raises:
        VireidError: if the file is missing, no image, too large or truncated; the message names it.
    """
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise VireidError(
                    f'image {path} has {image.width:,} x {image.height:,} pixels',
                    allowed=f'up to {max_pixels:,} pixels',
                    todo='cut the people out of it, or raise images.max_pixels',
                )
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
            f'image {path} cannot be read: {_about(path, error)}',
            todo='replace it, or take it out of the data folder',
        ) from error
    return torch.from_numpy(array.copy()).permute(2, 0, 1)


def decoder(settings: ImageSettings) -> Reader:
    """Returns what decodes an image as the settings say."""
    return partial(read_image, max_pixels=settings.max_pixels)


def _about(path: str | Path, error: Exception) -> str:
    """Returns what is wrong; of a file that Pillow cannot tell, the formats that are read."""
    if isinstance(error, UnidentifiedImageError):
        return f'it is none of {", ".join(FORMATS)}'
    return str(getattr(error, 'strerror', None) or error)


def fingerprint(samples: Sequence[Sample]) -> np.ndarray:
    """Returns a (N,) int64 number for each image's file, the same on every run."""
    folder = cache(os.path.realpath)  # of a few folders, not of each image

    def digest(path: str) -> bytes:
        place = f'{folder(os.path.dirname(path))}/{os.path.basename(path)}'
        return hashlib.blake2b(os.fsencode(place), digest_size=8).digest()

    return np.frombuffer(b''.join(digest(s.path) for s in samples), dtype=np.int64)
