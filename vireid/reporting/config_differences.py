"""Lists the differences between configs by path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vireid.boundary.config_text import dump_value
from vireid.core.config.overrides import leaves

MISSING = object()  # the value of a path that a config does not have


def differences(configs: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], list[Any]]:
    """Returns the values at each path where configs differ, `MISSING` for a config without that path.

    1 and 1.0 count as equal, and so do a tuple and a list with equal items; 1 and True do not.
    """
    flat = [{path: _plain(value) for path, value in leaves(config, lists=True)} for config in configs]
    paths = dict.fromkeys(path for one in flat for path in one)
    values = {path: [one.get(path, MISSING) for one in flat] for path in paths}
    return {path: each for path, each in values.items() if not all(_same(each[0], other) for other in each[1:])}


def describe(changes: Mapping[tuple[str, ...], Sequence[Any]]) -> list[str]:
    """Returns a line for each difference between two configs: `-` for what only the first has, `+`, or `~`."""
    lines = []
    for place, (old, new) in changes.items():
        key = '.'.join(place)
        if new is MISSING:
            lines.append(f'- {key}: {dump_value(old)}')
        elif old is MISSING:
            lines.append(f'+ {key}: {dump_value(new)}')
        else:
            lines.append(f'~ {key}: {dump_value(old)} -> {dump_value(new)}')
    return lines


def _same(old: Any, new: Any) -> bool:
    if old is MISSING or new is MISSING:
        return old is new
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    return old == new or (old != old and new != new)  # both are NaN


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
