"""FaissHNSW: follows a graph of neighbors to the images that are most similar to a query."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le

from vireid.plugins.indexes.faiss_file import FaissFile


class FaissHNSW(FaissFile):
    """Approximate search by FAISS: each image is linked to similar ones, and a search follows the links (HNSW).

    Needs `pip install "vireid[faiss]"`. Building takes longer than with `FaissIVF`, a search less. Removed images stay
    in the graph, without a number; it is rebuilt when half of its images have changed.

    Args:
        folder: the folder of the index.
        length: length D of an embedding.
        links: links per image in each layer, twice as many in the lowest. More links improve recall and take memory.
        build: images that are considered when an image is linked.
        search: number of images that a search considers; with a filter, proportionally more. Higher values improve
            recall and take longer.
    """

    rebuild_after = 0.5

    def __init__(
        self,
        folder: Path,
        length: int,
        links: Annotated[int, Ge(2), Le(256)] = 32,
        build: Annotated[int, Ge(1)] = 80,
        search: Annotated[int, Ge(1)] = 128,
    ) -> None:
        super().__init__(folder, length, {'links': links, 'build': build})
        self.links, self.linked, self.considered = links, build, search

    def build(self, vectors: np.ndarray, live: np.ndarray) -> Any:
        """Returns a graph without images."""
        faiss = self._faiss
        graph = faiss.IndexHNSWSQ(self.length, faiss.ScalarQuantizer.QT_fp16, self.links, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = self.linked
        graph.train(vectors[live[:1]].astype(np.float32))
        return faiss.IndexIDMap(graph)

    def drop(self, index: Any, rows: np.ndarray) -> None:
        """Removes the numbers of images, since images cannot be removed from a graph."""
        numbers = self._faiss.vector_to_array(index.id_map)
        numbers[np.isin(numbers, rows)] = -1
        self._faiss.copy_array_to_vector(numbers, index.id_map)

    def parameters(self, top: int, selector: Any, times: float) -> Any:
        """Returns the parameters of a search, which skips images without a number."""
        selector = selector or self._faiss.IDSelectorRange(0, 2**62)
        return self._faiss.SearchParametersHNSW(efSearch=max(round(self.considered * times), top), sel=selector)
