"""Reads images from files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vireid.boundary.image_files import MAX_PIXELS, ScaleRaw, read_pixels
from vireid.core.config.settings import ImageSettings
from vireid.core.types import Sample

Transform = Callable[..., Tensor]  # image -> image; receives the `modality` if it has such an argument
ReadImage = Callable[[str], Tensor]  # path -> (3, H, W) uint8


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS, scale_raw: ScaleRaw = None) -> Tensor:
    """Decodes an image to (3, H, W) uint8; see `boundary.image_files.read_pixels` for arguments and errors."""
    return torch.from_numpy(read_pixels(path, max_pixels, scale_raw)).permute(2, 0, 1)


@dataclass(frozen=True)
class Decoder:
    """Decodes images with `read_image` and the settings of the `images` section."""

    max_pixels: int = MAX_PIXELS
    scale_raw: ScaleRaw = None

    def __call__(self, path: str | Path) -> Tensor:
        return read_image(path, self.max_pixels, self.scale_raw)


def decoder(settings: ImageSettings) -> Decoder:
    """Returns the decoder for the settings."""
    return Decoder(settings.max_pixels, settings.scale_raw)


def fingerprint(samples: Sequence[Sample]) -> np.ndarray:
    """Returns (N,) int64 hashes of the image paths, the same in every run."""
    folder = cache(os.path.realpath)  # resolves each folder once, not each image

    def digest(path: str) -> bytes:
        place = f'{folder(os.path.dirname(path))}/{os.path.basename(path)}'
        return hashlib.blake2b(os.fsencode(place), digest_size=8).digest()

    return np.frombuffer(b''.join(digest(s.path) for s in samples), dtype=np.int64)
