"""FaissIVF: compares a query with the images of the nearest lists."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from vireid.plugins.indexes.faiss_file import FaissFile

PER_LIST = 64  # images per list that the centers are learned from


class FaissIVF(FaissFile):
    """Approximate search by FAISS: k-means sorts the images into lists, and a search reads the nearest lists.

    Needs `pip install "vireid[faiss]"`. The index is rebuilt when half of its images have changed.

    Args:
        folder: the folder of the index.
        length: length D of an embedding.
        lists: number of lists; by default 4 sqrt(N), for N images when it is built.
        probes: number of lists that a search reads; with a filter, proportionally more. Higher values improve recall
            and take longer.
    """

    rebuild_after = 0.5

    def __init__(
        self, folder: Path, length: int, lists: Annotated[int, Ge(1)] | None = None, probes: Annotated[int, Ge(1)] = 32
    ) -> None:
        super().__init__(folder, length, {'lists': lists})
        self.lists, self.probes = lists, probes

    def build(self, vectors: np.ndarray, live: np.ndarray) -> Any:
        """Returns an index with the centers of its lists and without images."""
        faiss = self._faiss
        lists = min(self.lists or math.ceil(4 * math.sqrt(len(live))), max(1, len(live) // 40))
        center = faiss.IndexFlatIP(self.length)
        index = faiss.IndexIVFScalarQuantizer(
            center, self.length, lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
        )
        index.cp.max_points_per_centroid = PER_LIST
        index.cp.min_points_per_centroid = 1
        index.cp.spherical = True
        sample = live
        if len(live) > PER_LIST * lists:
            sample = np.sort(np.random.default_rng(0).choice(live, PER_LIST * lists, replace=False))
        index.train(vectors[sample].astype(np.float32))
        return index

    def drop(self, index: Any, rows: np.ndarray) -> None:
        """Removes the images with these numbers, if there are any."""
        index.remove_ids(rows)

    def parameters(self, top: int, selector: Any, times: float) -> Any:
        """Returns the parameters of a search."""
        return self._faiss.SearchParametersIVF(nprobe=round(self.probes * times), sel=selector)
