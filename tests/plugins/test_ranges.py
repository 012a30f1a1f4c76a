"""Numbers out of range are refused where a config is checked, before anything is built."""

from __future__ import annotations

from typing import Any

import pytest

from vireid.core.registry.schema import check
from vireid.errors import WrongValue
from vireid.plugin_manager.manager import create_manager

COMPONENTS = create_manager().components

RANGES: list[tuple[str, str, str, list[Any], list[Any]]] = [
    ('heads', 'BottleneckHead', 'dropout', [-0.1, 1.0], [0, 0.9]),
    ('necks', 'DEE', 'dropout', [-0.1, 1.0], [0, 0.9]),
]


@pytest.mark.parametrize(('kind', 'name', 'argument', 'refused', 'taken'), RANGES)
def test_numbers_out_of_range_are_refused(kind, name, argument, refused, taken):
    for value in (*refused, *taken):
        found = {
            error.path: error
            for error in check(COMPONENTS.get(kind, name), {argument: value}, where='it')
            if error.path.startswith(f'it.{argument}')
        }
        if value in taken:
            assert not found
        else:
            assert type(found[f'it.{argument}']) is WrongValue
            assert f' {value} ' in found[f'it.{argument}'].given
