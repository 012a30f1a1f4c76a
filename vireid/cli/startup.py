"""Imports of a process that has just begun."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_frozen = False


@contextmanager
def importing() -> Iterator[None]:
    """Imports without collecting garbage.

    Modules are no garbage, and looking for some takes a quarter of the time that torch needs to be imported. What a
    process imports first is set apart for good (`gc.freeze`), so its end need not look through it either.
    """
    global _frozen
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not _frozen:
            gc.freeze()
            _frozen = True
        if was_enabled:
            gc.enable()
