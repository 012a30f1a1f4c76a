"""Metrics of ranked lists, vectorized over queries."""

from __future__ import annotations

import numpy as np


def precision(row: np.ndarray, column: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns average precision and inverse negative penalty of V lists.

    Args:
        row: the list of each match, ascending; every list has at least one.
        column: its position from 0, ascending within a list.
        count: (V,) number of matches in each list.

    Returns:
        (V,) average precision, (V,) inverse negative penalty.
    """
    start = count.cumsum() - count
    nth = np.arange(len(row)) - start[row] + 1
    return np.add.reduceat(nth / (column + 1), start) / count, count / (column[start + count - 1] + 1)


def identities_ahead(person: np.ndarray, place: np.ndarray, n_identities: int) -> np.ndarray:
    """Counts the distinct identities ranked ahead of a position.

    Args:
        person: (q, G) identity index 0..P-1 at each position.
        place: (q,) position of the first match, from 0.
        n_identities: P.
    """
    row, ahead = np.nonzero(np.arange(person.shape[1]) < place[:, None])
    seen = np.zeros((len(person), n_identities), dtype=bool)
    seen[row, person[row, ahead]] = True
    return seen.sum(axis=1)


def stable_top(values: np.ndarray, count: int) -> np.ndarray:
    """Returns the columns of the `count` smallest of each row of (q, G) floats, ascending, ties in column order.

    Infinities are allowed, NaN is not.
    """
    if values.dtype != np.float32:
        return np.argsort(values, axis=1, kind='stable')[:, :count]
    keys = _sortable(values)
    if count < keys.shape[1]:
        keys = np.partition(keys, count - 1, axis=1)[:, :count]
    keys.sort(axis=1)
    return keys & 0xFFFFFFFF


def _sortable(values: np.ndarray) -> np.ndarray:
    """Packs float32 values and their columns into int64 that sort as the pairs do; -0.0 is not allowed."""
    # NumPy sorts integers with SIMD instructions, several times as fast as any stable argsort: the high half of each
    # holds the float's bits in an order-preserving form, the low half its column
    bits = values.view(np.int32)
    return (bits ^ (bits >> 31 & 0x7FFFFFFF)).astype(np.int64) << 32 | np.arange(values.shape[1])
