"""k-reciprocal re-ranking (Zhong et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from vireid.core.errors import VireidError
from vireid.statistics.ranking import stable_top

# Elements of the largest work array: an eighth of a gigabyte in float32.
ELEMENTS = 32_000_000
PAIRS = 4_000_000


class KReciprocal:
    """Compares images by the neighbours they share, of queries and gallery together.

    The distance d of two images is 2 - 2 cos of their embeddings, divided by the largest of the query's row. R(i, k)
    are the images among the k nearest of i (and i) that have i among their own k nearest. R(i, k1) is widened by
    R(j, k1 / 2) of each j in it if more than two thirds of that are in R(i, k1) already. Each image becomes a vector
    with exp(-d) at those places and 0 elsewhere, of sum 1 (Eq. 5 to 7), averaged over its k2 nearest (itself
    included, Sec. 3.4). The new distance is (1 - weight) * Jaccard distance of these vectors + weight * d (Eq. 12).

    As in the authors' released code, and unlike the paper's text, exactly two thirds do not widen. Every trial is
    re-ranked with all of its queries and its gallery, whatever a protocol drops afterwards; so metrics depend on
    which queries come together.

    Args:
        k1: neighbours that are compared, at least 1.
        k2: neighbours that are averaged, at least 1 (which averages nothing).
        weight: lambda, the share of the plain distance, 0 to 1.

    Raises:
        VireidError: for a setting out of range.
    """

    def __init__(self, k1: int = 20, k2: int = 6, weight: float = 0.3) -> None:
        if k1 < 1 or k2 < 1 or not 0 <= weight <= 1:
            raise VireidError(
                f'k1 is {k1}, k2 is {k2}, weight is {weight}', allowed='k1 and k2 of at least 1, weight from 0 to 1'
            )
        self.k1, self.k2, self.weight = k1, k2, weight
        self.name = f're-ranked ({k1}, {k2}, {weight:g})'

    def similarity(self, query: np.ndarray, gallery: np.ndarray) -> Callable[[slice], np.ndarray]:
        """Prepares (Q, D) and (G, D) L2-normalised embeddings.

        Returns:
            A function from a slice of the queries to (q, G): minus the new distance.
        """
        everything = np.concatenate([query, gallery])
        nearest, farthest = _neighbours(everything, max(self.k1 + 1, self.k2))
        vectors = self._vectors(everything, nearest, farthest)
        by_place = vectors[len(query) :].T.tocsr()  # of each place, the gallery images that have something there

        def of(rows: slice) -> np.ndarray:
            plain = _distance(query[rows], gallery) / farthest[: len(query)][rows, None]
            shared = _shared(vectors[: len(query)][rows], by_place).astype(plain.dtype)
            # both have sum 1, so the union's sum is 2 minus the intersection's
            return -((1 - self.weight) * (1 - shared / (2 - shared)) + self.weight * plain)

        return of

    def _vectors(self, everything: np.ndarray, nearest: np.ndarray, farthest: np.ndarray) -> sparse.csr_matrix:
        """Returns the (N, N) sparse weights of each image's neighbours; rows have sum 1."""
        near = _reciprocal(nearest[:, : self.k1 + 1])
        half = _reciprocal(nearest[:, : round(self.k1 / 2) + 1])
        sizes = np.asarray(half.sum(axis=1)).ravel()
        both = near.multiply(near @ half.T).tocoo()  # of (i, j in R(i, k1)): how much of R(j, k1 / 2) is in R(i, k1)
        widens = 3 * both.data > 2 * sizes[both.col]
        chosen = sparse.csr_matrix((both.data[widens], (both.row[widens], both.col[widens])), shape=near.shape)
        found = (near + chosen @ half).tocoo()
        weights = np.exp(-_pair_distance(everything, found.row, found.col) / farthest[found.row])
        vectors = sparse.csr_matrix((weights, (found.row, found.col)), shape=near.shape)
        vectors = sparse.diags_array(1 / np.asarray(vectors.sum(axis=1)).ravel()).astype(weights.dtype) @ vectors
        averaged = nearest[:, : self.k2]
        mean = _matrix(averaged, np.full(averaged.size, 1 / averaged.shape[1], dtype=weights.dtype))
        return (mean @ vectors).tocsr()


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distance of L2-normalised rows, (n, D) and (m, D) -> (n, m)."""
    found = a @ b.T
    found *= -2
    found += 2
    return np.maximum(found, 0, out=found)


def _pair_distance(features: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The same of (P,) pairs of rows."""
    cosine = np.empty(len(left), dtype=features.dtype)
    step = max(1, ELEMENTS // 4 // features.shape[1])
    for start in range(0, len(left), step):
        part = slice(start, start + step)
        np.einsum('pd,pd->p', features[left[part]], features[right[part]], out=cosine[part])
    return np.maximum(2 - 2 * cosine, 0)


def _neighbours(features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (N, count) nearest of each row, itself first, then by distance and place; and (N,) largest distances."""
    total = len(features)
    count = min(count, total)
    nearest = np.empty((total, count), dtype=np.int32)
    farthest = np.empty(total, dtype=features.dtype)
    step = max(1, ELEMENTS // 4 // total)
    for start in range(0, total, step):
        distance = _distance(features[start : start + step], features)
        rows = np.arange(len(distance))
        farthest[start : start + step] = distance.max(axis=1)
        distance[rows, start + rows] = -1  # a twin, or rounding, may be as near as the image itself
        nearest[start : start + step] = stable_top(distance, count)
    farthest[farthest == 0] = 1  # all images are the same: every distance is 0
    return nearest, farthest


def _reciprocal(nearest: np.ndarray) -> sparse.csr_matrix:
    """Returns the (N, N) matrix with 1 where each of two images is among the nearest of the other."""
    one_way = _matrix(nearest, np.ones(nearest.size, dtype=np.int32))
    return one_way.multiply(one_way.T).tocsr()


def _matrix(columns: np.ndarray, values: np.ndarray) -> sparse.csr_matrix:
    """Returns the (N, N) matrix with `values` in the (N, k) `columns` of each row."""
    total, width = columns.shape
    return sparse.csr_matrix((values, columns.ravel(), np.arange(total + 1) * width), shape=(total, total))


def _shared(query: sparse.csr_matrix, by_place: sparse.csr_matrix) -> np.ndarray:
    """Sum over places of the smaller value, of q rows and G columns -> (q, G) float64."""
    width = by_place.shape[1]
    lengths = np.diff(by_place.indptr)[query.indices]  # gallery images that each value of a query meets
    before = np.concatenate([[0], np.cumsum(lengths)])
    of_row = before[query.indptr]
    found = np.zeros((query.shape[0], width))
    start = 0
    while start < query.shape[0]:
        # as many queries at a time as meet few enough images, but one at least
        stop = max(start + 1, int(np.searchsorted(of_row, of_row[start] + PAIRS, side='right')) - 1)
        own = slice(query.indptr[start], query.indptr[stop])
        count = lengths[own]
        place = np.repeat(by_place.indptr[query.indices[own]] - (before[own] - before[own.start]), count)
        place += np.arange(len(place))
        smaller = np.minimum(np.repeat(query.data[own], count), by_place.data[place])
        row = np.repeat(np.arange(stop - start), np.diff(of_row[start : stop + 1]))
        cell = row * width + by_place.indices[place]
        found[start:stop] = np.bincount(cell, smaller, (stop - start) * width).reshape(-1, width)
        start = stop
    return found
