"""k-reciprocal re-ranking (Zhong et al., CVPR 2017, arXiv 1701.08398)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from scipy import sparse

from vireid.statistics.ranking import stable_top

# Elements of the largest temporary array: 128 MB in float32.
ELEMENTS = 32_000_000
PAIRS = 4_000_000
Count = Annotated[int, Ge(1)]


class KReciprocal:
    """Compares images by the neighbors that they share among all queries and gallery images.

    The distance d of two images is 2 - 2 cos of their embeddings, divided by the maximum of the query's row. R(i, k)
    contains i and those of its k nearest neighbors that have i among their own k nearest. R(i, k1) is expanded by
    R(j, k1 / 2) for each j in it, if more than two thirds of that set are already in R(i, k1). Each image becomes a
    vector with exp(-d) at the images in this set and 0 elsewhere, normalized to sum 1 (Eq. 5 to 7). The vectors are
    averaged over the k2 nearest neighbors, including the image itself (Sec. 3.4). The new distance is (1 - weight) *
    Jaccard distance of these vectors + weight * d (Eq. 12).

    As in the authors' code, and unlike the paper's text, a share of exactly two thirds does not expand the set. Each
    trial is re-ranked with all of its queries and gallery images, including those that the protocol drops afterwards,
    so metrics depend on which queries are ranked together.

    Args:
        k1: number of neighbors to compare, at least 1.
        k2: number of neighbors to average, at least 1, which disables averaging.
        weight: lambda, the weight of the original distance, 0 to 1.
    """

    def __init__(self, k1: Count = 20, k2: Count = 6, weight: Annotated[float, Ge(0), Le(1)] = 0.3) -> None:
        self.k1, self.k2, self.weight = k1, k2, weight
        self.name = f're-ranked ({k1}, {k2}, {weight:g})'

    def similarity(self, query: np.ndarray, gallery: np.ndarray) -> Callable[[slice], np.ndarray]:
        """Prepares L2-normalized embeddings of shapes (Q, D) and (G, D).

        Returns:
            A function that maps a slice of the queries to the (q, G) negative new distances.
        """
        everything = np.concatenate([query, gallery])
        nearest, farthest = _neighbors(everything, max(self.k1 + 1, self.k2))
        vectors = self._vectors(everything, nearest, farthest)
        by_place = vectors[len(query) :].T.tocsr()  # for each place, the gallery images with a nonzero value there

        def of(rows: slice) -> np.ndarray:
            plain = _distance(query[rows], gallery) / farthest[: len(query)][rows, None]
            shared = _shared(vectors[: len(query)][rows], by_place).astype(plain.dtype)
            # both have sum 1, so the union's sum is 2 minus the intersection's
            return -((1 - self.weight) * (1 - shared / (2 - shared)) + self.weight * plain)

        return of

    def _vectors(self, everything: np.ndarray, nearest: np.ndarray, farthest: np.ndarray) -> sparse.csr_matrix:
        """Returns the (N, N) sparse weights of each image's neighbors; rows sum to 1."""
        near = _reciprocal(nearest[:, : self.k1 + 1])
        half = _reciprocal(nearest[:, : round(self.k1 / 2) + 1])
        sizes = np.asarray(half.sum(axis=1)).ravel()
        both = near.multiply(near @ half.T).tocoo()  # for i and j in R(i, k1): size of R(j, k1 / 2) within R(i, k1)
        expands = 3 * both.data > 2 * sizes[both.col]
        chosen = sparse.csr_matrix((both.data[expands], (both.row[expands], both.col[expands])), shape=near.shape)
        expanded = (near + chosen @ half).tocoo()
        weights = np.exp(-_pair_distance(everything, expanded.row, expanded.col) / farthest[expanded.row])
        vectors = sparse.csr_matrix((weights, (expanded.row, expanded.col)), shape=near.shape)
        vectors = sparse.diags_array(1 / np.asarray(vectors.sum(axis=1)).ravel()).astype(weights.dtype) @ vectors
        averaged = nearest[:, : self.k2]
        mean = _matrix(averaged, np.full(averaged.size, 1 / averaged.shape[1], dtype=weights.dtype))
        return (mean @ vectors).tocsr()


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the (n, m) squared Euclidean distances of L2-normalized (n, D) and (m, D) rows."""
    squared = a @ b.T
    squared *= -2
    squared += 2
    return np.maximum(squared, 0, out=squared)


def _pair_distance(features: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns the (P,) squared distances of the pairs of rows `left[p]` and `right[p]`."""
    cosine = np.empty(len(left), dtype=features.dtype)
    step = max(1, ELEMENTS // 4 // features.shape[1])
    for start in range(0, len(left), step):
        part = slice(start, start + step)
        np.einsum('pd,pd->p', features[left[part]], features[right[part]], out=cosine[part])
    return np.maximum(2 - 2 * cosine, 0)


def _neighbors(features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (N, count) nearest rows of each row and the (N,) largest distances.

    The row itself comes first; the others are sorted by distance, ties by index.
    """
    total = len(features)
    count = min(count, total)
    nearest = np.empty((total, count), dtype=np.int32)
    farthest = np.empty(total, dtype=features.dtype)
    step = max(1, ELEMENTS // 4 // total)
    for start in range(0, total, step):
        distance = _distance(features[start : start + step], features)
        rows = np.arange(len(distance))
        farthest[start : start + step] = distance.max(axis=1)
        distance[rows, start + rows] = -1  # puts the image itself before duplicates and rounding errors
        nearest[start : start + step] = stable_top(distance, count)
    farthest[farthest == 0] = 1  # all images are equal, so every distance is 0
    return nearest, farthest


def _reciprocal(nearest: np.ndarray) -> sparse.csr_matrix:
    """Returns the (N, N) matrix with 1 where two images are among each other's nearest."""
    one_way = _matrix(nearest, np.ones(nearest.size, dtype=np.int32))
    return one_way.multiply(one_way.T).tocsr()


def _matrix(columns: np.ndarray, values: np.ndarray) -> sparse.csr_matrix:
    """Returns the (N, N) matrix with `values` at the (N, k) `columns` of each row."""
    total, width = columns.shape
    return sparse.csr_matrix((values, columns.ravel(), np.arange(total + 1) * width), shape=(total, total))


def _shared(query: sparse.csr_matrix, by_place: sparse.csr_matrix) -> np.ndarray:
    """Returns the (q, G) sums over places of the smaller of a query's and a gallery image's value, in float64."""
    width = by_place.shape[1]
    lengths = np.diff(by_place.indptr)[query.indices]  # number of gallery images that share each value of a query
    before = np.concatenate([[0], np.cumsum(lengths)])
    of_row = before[query.indptr]
    sums = np.zeros((query.shape[0], width))
    start = 0
    while start < query.shape[0]:
        # as many queries at a time as fit into PAIRS, but at least one
        stop = max(start + 1, int(np.searchsorted(of_row, of_row[start] + PAIRS, side='right')) - 1)
        own = slice(query.indptr[start], query.indptr[stop])
        count = lengths[own]
        place = np.repeat(by_place.indptr[query.indices[own]] - (before[own] - before[own.start]), count)
        place += np.arange(len(place))
        smaller = np.minimum(np.repeat(query.data[own], count), by_place.data[place])
        row = np.repeat(np.arange(stop - start), np.diff(of_row[start : stop + 1]))
        cell = row * width + by_place.indices[place]
        sums[start:stop] = np.bincount(cell, smaller, (stop - start) * width).reshape(-1, width)
        start = stop
    return sums
