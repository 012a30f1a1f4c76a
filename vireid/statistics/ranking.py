"""Formulas of ranked lists, for all queries at once."""

from __future__ import annotations

import numpy as np


def precision(row: np.ndarray, column: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and inverse negative penalty of V lists.

    Args:
        row: list of each match, ascending; every list has one.
        column: its place, from 0, ascending within a list.
        count: (V,) matches of each list.
    """
    start = count.cumsum() - count
    nth = np.arange(len(row)) - start[row] + 1
    return np.add.reduceat(nth / (column + 1), start) / count, count / (column[start + count - 1] + 1)


def identities_ahead(person: np.ndarray, place: np.ndarray, n_identities: int) -> np.ndarray:
    """Counts the distinct identities ranked ahead of a place.

    Args:
        person: (q, G) person index 0..P-1 of each place.
        place: (q,) place of the first match, from 0.
        n_identities: P.
    """
    row, ahead = np.nonzero(np.arange(person.shape[1]) < place[:, None])
    seen = np.zeros((len(person), n_identities), dtype=bool)
    seen[row, person[row, ahead]] = True
    return seen.sum(axis=1)


def stable_top(values: np.ndarray, count: int) -> np.ndarray:
    """Columns of the `count` smallest of each row of (q, G) floats, ascending, equal values in column order.

    Infinities may be among them, NaN may not.
    """
    if values.dtype != np.float32:
        return np.argsort(values, axis=1, kind='stable')[:, :count]
    keys = _sortable(values)
    if count < keys.shape[1]:
        keys = np.partition(keys, count - 1, axis=1)[:, :count]
    keys.sort(axis=1)
    return keys & 0xFFFFFFFF


def _sortable(values: np.ndarray) -> np.ndarray:
    """Float32 values and their columns as int64 that sort as the pairs do; there must be no -0.0."""
    # numpy sorts integers with vector instructions, several times as fast as any stable argsort: the high half of
    # each is the float's bits in an order that integers share, the low half its column
    bits = values.view(np.int32)
    return (bits ^ (bits >> 31 & 0x7FFFFFFF)).astype(np.int64) << 32 | np.arange(values.shape[1])
