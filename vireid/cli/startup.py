"""Fast imports at process start."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from vireid.boundary.compiler_import import put_off_compiler

_frozen = False


@contextmanager
def importing() -> Iterator[None]:
    """Disables garbage collection while the block imports modules, and puts off the import of torch's compiler.

    Collection takes a quarter of the import time of torch and frees nothing. The first time, `gc.freeze` also excludes
    the imported objects from all later collections, which shortens the exit of the process.
    """
    global _frozen
    put_off_compiler()
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
