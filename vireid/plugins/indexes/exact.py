"""Exact: compares a query with every image of the gallery."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

BLOCK = 16 * 2**20  # numbers that are compared at a time: 64 MiB as float32
UNMAP = 2**30  # bytes; the pages of a larger file are released after use


class Exact:
    """Ranks by cosine similarity, computed in float32 for all images.

    It reads the file of embeddings block by block, so its memory does not grow with the gallery. Of images with the
    same similarity, the one with the lower number comes first.

    Args:
        folder: the folder of the index.
        length: length D of an embedding.
    """

    def __init__(self, folder: Path, length: int) -> None:
        self.length = length

    def update(self, vectors: np.ndarray, live: np.ndarray, changed: Sequence[Any], removed: np.ndarray) -> None:
        """Does nothing: all information is in the file of embeddings."""

    def search(
        self, vectors: np.ndarray, queries: np.ndarray, top: int, rows: np.ndarray | None, where: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the (Q, k) similarities and numbers of the k = min(top, images) most similar images, best first."""
        total = len(vectors) if rows is None else len(rows)
        block = max(1, min(total, BLOCK // max(self.length, len(queries))))
        # NumPy's product of (b, D) and (D, Q) is faster than torch's, torch's conversion from float16 than NumPy's
        transposed = np.ascontiguousarray(queries.T, dtype=np.float32)
        gallery = np.empty((block, self.length), dtype=np.float32)
        similar = np.empty((block, len(queries)), dtype=np.float32)
        scores = np.full((len(queries), min(top, total)), -np.inf, dtype=np.float32)
        numbers = np.full(scores.shape, -1)
        for start in range(0, total, block):
            size = min(block, total - start)
            part = slice(start, start + size)
            half = _shared(vectors[part]) if rows is None else vectors[rows[part]]
            torch.from_numpy(gallery[:size]).copy_(torch.from_numpy(half))
            with np.errstate(invalid='ignore'):  # of damaged embeddings, which are refused afterwards
                np.matmul(gallery[:size], transposed, out=similar[:size])
            scores, numbers = _merge(scores, numbers, similar[:size], start)
            _release(vectors)
        return scores, numbers if rows is None else rows[numbers]


def _shared(vectors: np.ndarray) -> np.ndarray:
    """Returns the same memory without its read-only flag, which torch warns about; only reads it."""

    memory = SimpleNamespace(owner=vectors, __array_interface__=dict(vectors.__array_interface__))
    memory.__array_interface__['data'] = (vectors.__array_interface__['data'][0], False)
    return np.asarray(memory)


def _merge(scores: np.ndarray, numbers: np.ndarray, similar: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (Q, k) best of those so far and of the (b, Q) similarities of a block that begins at `first`."""
    count, best = scores.shape
    better = similar > scores[:, -1]
    if np.count_nonzero(better) > 8 * scores.size:  # as in the first block
        better &= similar >= torch.from_numpy(similar).topk(min(best, len(similar)), dim=0).values[-1].numpy()
    hits = np.flatnonzero(better)
    places, owners = np.divmod(hits, count)
    values = np.concatenate([scores.ravel(), similar.ravel()[hits]])
    places = np.concatenate([numbers.ravel(), places + first])
    owners = np.concatenate([np.repeat(np.arange(count), best), owners])
    order = np.lexsort((places, -values, owners))
    chosen = order[np.searchsorted(owners[order], np.arange(count))[:, None] + np.arange(best)]
    return values[chosen], places[chosen]


def _release(vectors: np.ndarray) -> None:
    """Lets the system reuse the memory of a large mapped file, whose pages would count as memory of this process."""
    mapped: Any = vectors._mmap if isinstance(vectors, np.memmap) else None  # type: ignore[attr-defined]
    if sys.platform != 'win32' and mapped is not None and vectors.nbytes > UNMAP:
        mapped.madvise(mmap.MADV_DONTNEED)
