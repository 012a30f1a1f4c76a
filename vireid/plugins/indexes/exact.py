"""Exact: compares a query with every image of the gallery."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

BLOCK = 64 * 2**20  # bytes of float32 that are compared at a time
UNMAP = 2**30  # bytes; the pages of a larger file are released after use


class Exact:
    """Ranks by cosine similarity, computed in float32 for all images.

    It reads the file of embeddings block by block, so its memory does not grow with the gallery.

    Args:
        folder: the folder of the index.
        length: length D of an embedding.
    """

    def __init__(self, folder: Path, length: int) -> None:
        self.block = max(1, BLOCK // (4 * length))

    def update(self, vectors: np.ndarray, live: np.ndarray, changed: Sequence[Any], removed: np.ndarray) -> None:
        """Does nothing: all information is in the file of embeddings."""

    def search(
        self, vectors: np.ndarray, queries: np.ndarray, top: int, rows: np.ndarray | None, where: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the (Q, k) similarities and numbers of the k = min(top, images) most similar images, best first."""
        wanted = torch.from_numpy(np.ascontiguousarray(queries, dtype=np.float32))
        scores = torch.empty(len(queries), 0)
        numbers = torch.empty(len(queries), 0, dtype=torch.int64)
        total = len(vectors) if rows is None else len(rows)
        for start in range(0, total, self.block):
            stop = min(start + self.block, total)
            block = vectors[start:stop] if rows is None else vectors[rows[start:stop]]
            # a copy, since torch rejects read-only memory
            similar = wanted @ torch.from_numpy(np.array(block)).float().T  # (Q, b)
            best, place = similar.topk(min(top, stop - start), dim=1)
            place = place + start if rows is None else torch.from_numpy(rows)[place + start]
            scores, order = torch.cat([scores, best], dim=1).topk(min(top, scores.shape[1] + best.shape[1]), dim=1)
            numbers = torch.cat([numbers, place], dim=1).gather(1, order)
            _release(vectors)
        return scores.numpy(), numbers.numpy()


def _release(vectors: np.ndarray) -> None:
    """Lets the system reuse the memory of a large mapped file, whose pages would count as memory of this process."""
    mapped = getattr(vectors, '_mmap', None)
    if mapped is not None and vectors.nbytes > UNMAP and hasattr(mmap, 'MADV_DONTNEED'):
        mapped.madvise(mmap.MADV_DONTNEED)
