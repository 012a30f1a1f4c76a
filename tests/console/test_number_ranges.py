"""Ranges and lists of numbers."""

from __future__ import annotations

import re

import pytest

from vireid.console.number_ranges import parse_numbers, parse_share
from vireid.errors import WrongValue


@pytest.mark.parametrize(
    ('text', 'numbers'), [('1-10', list(range(1, 11))), ('3', [3]), ('1, 7-9,1', [1, 7, 8, 9]), ('2-2', [2])]
)
def test_numbers_are_ranges_and_lists(text: str, numbers: list[int]) -> None:
    assert parse_numbers('--splits', text) == numbers


@pytest.mark.parametrize('text', ['', 'all', '3-1', '1-', '-1', '1,,2', '1.5', '1-999999999999', '1-1001', '²'])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(WrongValue, match=f'--splits .*{re.escape(repr(text))}'):
        parse_numbers('--splits', text)


def test_numbers_are_read():
    assert parse_numbers('--seeds', '0-3') == [0, 1, 2, 3]
    assert parse_numbers('--seeds', '5,1,5') == [5, 1]
    assert parse_numbers('--splits', '1, 3') == [1, 3]
    for text in ('x', '3-1', '', '-1', '0-5000', '1-2-3', '\u0661'):
        with pytest.raises(WrongValue, match=f'--seeds .*{re.escape(repr(text))}'):
            parse_numbers('--seeds', text)


def test_a_share_is_between_0_and_1():
    assert parse_share('--false-alarms', '0.05') == 0.05
    for text in ('0', '1', '-0.5', 'nan', 'half', ''):
        with pytest.raises(WrongValue, match=f'--false-alarms .*{re.escape(repr(text))}'):
            parse_share('--false-alarms', text)
