"""Horizontal stripes of a map."""

from __future__ import annotations

from itertools import pairwise

from vireid.errors import Mismatch


def stripes(height: int, parts: int, overlap: float = 0.0) -> list[tuple[int, int]]:
    """Splits the rows of a map into stripes.

    Without overlap, each row is in exactly one stripe. If `parts` does not divide `height`, heights differ by one row.

    Args:
        height: number of rows.
        parts: number of stripes.
        overlap: fraction of its height by which a stripe extends into each neighbor.

    Returns:
        (first row, row after the last) of each stripe, from top to bottom.

    Raises:
        Mismatch: if there are more parts than rows, or `overlap` is less than half a row.
    """
    if parts > height:
        raise Mismatch(
            f'parts is {parts}, but the map has {height} row{"s" if height > 1 else ""}',
            allowed=f'0 to {height}',
            todo='use fewer parts, a larger images.size, or an earlier stage',
        )
    reach = round(overlap * height / parts) if parts else 0
    if overlap and not reach:
        raise Mismatch(
            f'overlap is {overlap} of a stripe with {height / parts:g} rows, which is less than half a row',
            allowed=f'0, or more than {parts / height / 2:.3f}',
        )
    edges = [part * height // parts for part in range(parts + 1)] if parts else []
    return [(max(0, a - reach), min(height, b + reach)) for a, b in pairwise(edges)]
