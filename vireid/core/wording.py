"""Counts and kinds as messages say them."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = '') -> str:
    """Returns a number with its noun: `1 step`, `2,000 steps`, `3 identities`."""
    return f'{number:,} {noun if number == 1 else plural or f"{noun}s"}'


def singular(kind: str) -> str:
    """Returns one of a registry's kind: `neck`, `loss`."""
    return f'{kind[:-3]}y' if kind.endswith('ies') else kind.removesuffix('es' if kind.endswith('sses') else 's')
