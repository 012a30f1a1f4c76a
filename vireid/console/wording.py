"""Text formatting for messages: counts, singular nouns, aligned tables."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = '') -> str:
    """Formats a number with its noun: `1 step`, `2,000 steps`, `3 identities`."""
    return f'{number:,} {noun if number == 1 else plural or f"{noun}s"}'


def singular(kind: str) -> str:
    """Returns the singular of a component kind: `neck` for `necks`, `loss` for `losses`."""
    return (
        f'{kind[:-3]}y' if kind.endswith('ies') else kind.removesuffix('es' if kind.endswith(('sses', 'xes')) else 's')
    )


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Formats rows of cells as lines with aligned columns: the first `left` to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        '  '.join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
