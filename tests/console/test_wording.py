"""What messages are made of."""

from __future__ import annotations

from vireid.console.wording import aligned, counted, singular


def test_counts():
    assert [counted(n, 'step') for n in (0, 1, 2000)] == ['0 steps', '1 step', '2,000 steps']
    assert counted(2, 'identity', 'identities') == '2 identities'


def test_kinds():
    assert [singular(kind) for kind in ('necks', 'losses', 'indexes', 'similarities')] == [
        'neck',
        'loss',
        'index',
        'similarity',
    ]


def test_columns_begin_or_end_alike():
    rows = [('name', 'R1', 'what'), ('a', '10.5', 'x')]
    assert aligned(rows) == ['name    R1  what', 'a     10.5     x']
    assert aligned(rows, left=3) == ['name  R1    what', 'a     10.5  x']
