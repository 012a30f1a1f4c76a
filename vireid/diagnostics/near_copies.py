"""Finds nearly identical images of different identities, which are most likely one person under two names.

Two images are copies if the signs of their low frequencies agree (a perceptual hash), and their pixels then correlate
after a small shift. This finds copies that were recompressed, resized, made brighter or darker, or cropped by up to
about two percent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import dctn

SIDE = 32  # of the shrunk image that is compared, in pixels
FREQUENCIES = 16  # in each direction; without the mean, 255 bits
# Measured on synthetic and real crops: images of different people differ in at least 65 of 255 bits, copies in fewer
# unless they are cropped by three percent or more.
MAX_BITS = 64
SHIFT = 2  # pixels of the shrunk image
MIN_CORRELATION = 0.7  # shifted copies exceed it; few pairs of different people with similar bits do
MIN_CONTRAST = 2.0  # standard deviation in gray levels: below it there is nothing to compare
BLOCK = 512


class NearCopy(NamedTuple):
    """Two images, by row."""

    first: int
    second: int


def near_copies(small: np.ndarray, identities: np.ndarray, contents: Sequence[bytes]) -> list[NearCopy]:
    """Returns the most similar pair of images for every two identities that share nearly the same image.

    Ignores identical files.

    Args:
        small: (N, SIDE, SIDE) uint8, the images in gray and shrunk.
        identities: (N,) int.
        contents: N digests of the files.

    Returns:
        Pairs of rows, in order.
    """
    number = {content: row for row, content in enumerate(contents)}
    files = np.array([number[content] for content in contents], dtype=np.int64)
    rows = np.flatnonzero(small.std(axis=(1, 2)) >= MIN_CONTRAST)
    rows = rows[np.argsort(identities[rows], kind='stable')]
    best: dict[tuple[int, int], tuple[float, int, int]] = {}
    for agreement, first, second in _candidates(_signs(small[rows]), identities[rows], files[rows]):
        i, j = int(rows[first]), int(rows[second])
        pair = int(identities[i]), int(identities[j])
        best[pair] = max(best.get(pair, (-np.inf, 0, 0)), (agreement, -i, -j))  # of ties the first
    pairs = [NearCopy(*sorted((-i, -j))) for _, i, j in best.values()]
    return sorted(
        pair
        for pair in pairs
        if max(_correlation(small[i], small[j]) for i, j in (pair, pair[::-1])) >= MIN_CORRELATION
    )


def _signs(small: np.ndarray) -> np.ndarray:
    """Returns the signs of the low frequencies without the mean, (N, 255) float32 of -1 and 1."""
    signs = np.empty((len(small), FREQUENCIES**2 - 1), dtype=np.float32)
    for start in range(0, len(small), BLOCK):
        waves = dctn(small[start : start + BLOCK].astype(np.float32), axes=(1, 2))[:, :FREQUENCIES, :FREQUENCIES]
        signs[start : start + BLOCK] = np.where(waves.reshape(len(waves), -1)[:, 1:] > 0, 1, -1)
    return signs


def _candidates(signs: np.ndarray, identities: np.ndarray, files: np.ndarray) -> Iterator[tuple[float, int, int]]:
    """Yields the agreement of the bits of two images, and their rows: per block of rows, the best of two identities.

    Args:
        signs: (N, 255) float32.
        identities: (N,) int, ascending.
        files: (N,) int, equal for identical files.
    """
    bits = signs.shape[1]
    starts = np.flatnonzero(np.diff(identities, prepend=identities[:1] - 1))
    ends = np.append(starts[1:], len(identities))
    for which, (begin, end) in enumerate(zip(starts[:-1], ends[:-1], strict=True), 1):
        for start in range(begin, end, BLOCK):
            block = slice(start, min(start + BLOCK, end))
            agreement = signs[block] @ signs[end:].T  # bits that agree minus bits that differ
            equal = np.nonzero(agreement == bits)
            agreement[equal] = np.where(files[block][equal[0]] == files[end:][equal[1]], -bits, bits)
            highest = np.maximum.reduceat(agreement.max(axis=0), starts[which:] - end)
            for other in np.flatnonzero(highest >= bits - 2 * MAX_BITS) + which:
                part = agreement[:, starts[other] - end : ends[other] - end]
                first, second = np.unravel_index(part.argmax(), part.shape)
                yield float(part[first, second]), start + int(first), int(starts[other] + second)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the largest correlation of the center of one image with the other, shifted by up to SHIFT pixels."""
    size = SIDE - 2 * SHIFT
    middle = one[SHIFT : SHIFT + size, SHIFT : SHIFT + size].astype(np.float64).ravel()
    moved = sliding_window_view(other.astype(np.float64), (size, size)).reshape(-1, size * size)
    middle, moved = middle - middle.mean(), moved - moved.mean(axis=1, keepdims=True)
    scale = np.linalg.norm(middle) * np.linalg.norm(moved, axis=1)
    return float((moved @ middle / np.maximum(scale, 1e-9)).max())
