"""The names of a backbone's features; without torch, so that a config's wiring is checked in no time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def names(out_stages: Sequence[int] = (4,), **others: Any) -> list[str]:
    """Returns what `TwoStreamResNet` calls the maps it hands on."""
    return [f'stage{stage}' for stage in sorted(out_stages)]
