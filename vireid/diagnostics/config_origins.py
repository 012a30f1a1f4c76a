"""A config as YAML in which each value is annotated with the file or override that set it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vireid.boundary.config_text import dump_value


def annotate(config: Mapping[str, Any], origins: Mapping[tuple[str, ...], str]) -> list[str]:
    """Returns the lines of a config, with the origin of each value as a comment.

    Args:
        config: the sections.
        origins: by the path of a value, the file or override that set it.
    """
    lines = list(_lines(config, ()))
    width = max((len(text) for text, place in lines if place in origins and len(text) <= 80), default=0)
    return [f'{text.ljust(width)}  # {_short(origins[place])}' if place in origins else text for text, place in lines]


def _lines(config: Mapping[str, Any], place: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields the lines of a config as YAML, each with the path of its value."""
    pad = '  ' * len(place)
    for key, value in config.items():
        here, name = (*place, key), dump_value(key)
        if isinstance(value, Mapping) and value:
            yield f'{pad}{name}:', ()
            yield from _lines(value, here)
        elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
            yield f'{pad}{name}:', here
            yield from ((f'{pad}- {dump_value(item)}', ()) for item in value)
        else:
            yield f'{pad}{name}: {dump_value(value)}', here


def _short(origin: str) -> str:
    """Returns a file below the working directory as a relative path, others as absolute; an override as typed."""
    if '=' in origin or origin.startswith('-'):
        return origin
    near = os.path.relpath(origin)
    return near if not near.startswith('..') else str(Path(os.path.abspath(origin)))
