"""LOMO of 1,000 images of 288 x 144: time beside a loop over windows, and memory of a process of its own."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

IMAGES, BATCH, LOOPED = 1000, 64, 4
SIZE = 288, 144
FASTER, GB = 8, 1.0  # the goals


def vectorized() -> None:
    """Prints the seconds of CPU time and the memory in GB, before and at most."""
    import torch

    from vireid.plugins.models.lomo import LOMO

    torch.set_num_threads(1)
    model, images = LOMO(), torch.from_numpy(pixels(BATCH)).permute(0, 3, 1, 2).float() / 255
    model.embed(images[:1], 'visible')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    start = time.process_time()
    kept = []
    for first in range(0, IMAGES, BATCH):
        kept.append(model.embed(images[: min(BATCH, IMAGES - first)], 'visible'))
    print(time.process_time() - start, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


def looped() -> None:
    """Prints the seconds of CPU time of one image, by the way its windows are counted."""
    images = pixels(LOOPED)
    for count in (one_by_one, np.bincount):
        loop(images[0], count)
        start = time.process_time()
        for image in images:
            loop(image, count)
        print((time.process_time() - start) / LOOPED)


def one_by_one(codes: np.ndarray, minlength: int) -> np.ndarray:
    """Counts codes literally."""
    counts = [0] * minlength
    for code in codes.tolist():
        counts[code] += 1
    return np.array(counts)


def pixels(count: int) -> np.ndarray:
    """Returns (N, H, W, 3) uint8 noise, smoothed as photographs are."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, SIZE[0] // 4, SIZE[1] // 4, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def loop(image: np.ndarray, count: Callable[..., np.ndarray]) -> np.ndarray:
    """The descriptor of an image, window by window; what concerns pixels alone is vectorized."""
    levels = image / 255.0
    high, low = levels.max(axis=2), levels.min(axis=2)
    span = np.where(high > low, high - low, 1)
    r, g, b = (levels[..., c] for c in range(3))
    hue = np.where(high == r, (g - b) / span % 6, np.where(high == g, (b - r) / span + 2, (r - g) / span + 4)) / 6
    saturation = np.where(high > 0, (high - low) / np.where(high > 0, high, 1), 0)
    colors = np.minimum(np.floor(8 * np.stack([hue * (high > low), saturation, high], axis=2)), 7).astype(int)
    gray = np.rint(image @ [0.298936, 0.587043, 0.114021])
    parts: list[list[np.ndarray]] = [[], [], []]
    for _ in range(3):
        height, width = gray.shape
        codes = [colors @ [1, 8, 64]]
        for radius in (3, 5):
            padded = np.pad(gray, radius, mode='edge')
            code = np.zeros((height, width), dtype=int)
            for weight, (y, x) in ((1, (0, 1)), (3, (-1, 0)), (9, (0, -1)), (27, (1, 0))):
                n = padded[radius * (1 + y) :, radius * (1 + x) :][:height, :width]
                code += weight * ((n < 0.7 * gray) + 2 * (n > 1.3 * gray))
            codes.append(code)
        for part, code, bins in zip(parts, codes, (512, 81, 81), strict=True):
            for y in range(0, height - 9, 5):
                largest = np.zeros(bins, dtype=int)
                for x in range(0, width - 9, 5):
                    largest = np.maximum(largest, count(code[y : y + 10, x : x + 10].ravel(), minlength=bins))
                part.append(largest)
        even = slice(height // 2 * 2), slice(width // 2 * 2)
        gray, colors = (
            v[even].reshape(height // 2, 2, width // 2, 2, *v.shape[2:]).mean(axis=(1, 3)) for v in (gray, colors)
        )
        colors = colors.astype(int)
    logs = [np.log1p(np.concatenate(part)) for part in parts]
    return np.concatenate([part / np.linalg.norm(part) for part in logs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--one', choices=['vectorized', 'looped'], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        {'vectorized': vectorized, 'looped': looped}[args.one]()
        return

    def measure(which: str) -> list[float]:
        command = [sys.executable, __file__, '--one', which]
        return [float(v) for v in subprocess.run(command, check=True, capture_output=True).stdout.split()]

    literal, counted = measure('looped')
    seconds, before, peak = measure('vectorized')
    print(f'{"":<42}{"ms an image":>12}{"vectorized is faster by":>25}   one core')
    for name, one in (('loop over windows and their pixels', literal), ('loop over windows, np.bincount', counted)):
        goal = f'   goal: {FASTER}' if one == literal else ''
        print(f'{name:<42}{1000 * one:>12.1f}{one * IMAGES / seconds:>25.1f}{goal}')
    print(f'{f"vectorized, {IMAGES:,} images":<42}{1000 * seconds / IMAGES:>12.1f}')
    print(f'{peak:.2f} GB with all descriptors, {before:.2f} before it began (goal: {GB:g} GB)')


if __name__ == '__main__':
    main()
