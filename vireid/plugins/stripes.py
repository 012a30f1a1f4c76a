"""Horizontal stripes of a map."""

from __future__ import annotations

from itertools import pairwise

from vireid.core.errors import VireidError


def stripes(height: int, parts: int, overlap: float = 0.0) -> list[tuple[int, int]]:
    """Cuts `height` rows into `parts` stripes from top to bottom: (first row, row after the last) of each.

    Without overlap they cover every row once; where `parts` does not divide `height`, heights differ by one row.

    Raises:
        VireidError: for more parts than rows, and an overlap that reaches no row.
    """
    if parts > height:
        raise VireidError(
            f'parts is {parts} and the map has {height} row{"s" if height > 1 else ""}',
            allowed=f'0 to {height}',
            todo='use fewer parts, larger images.size, or an earlier stage',
        )
    reach = round(overlap * height / parts) if parts else 0
    if overlap and not reach:
        raise VireidError(
            f'overlap is {overlap} of a stripe of {height / parts:g} rows, which is less than half a row',
            allowed=f'0, or more than {parts / height / 2:.3f}',
        )
    edges = [part * height // parts for part in range(parts + 1)] if parts else []
    return [(max(0, a - reach), min(height, b + reach)) for a, b in pairwise(edges)]
