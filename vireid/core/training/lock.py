"""A run's folder is written by one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vireid.core.errors import VireidError

_HELD: set[int] = set()  # folders that this process holds


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing to a run's folder meanwhile.

    Raises:
        VireidError: if one does already.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    _HELD.add(handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it goes with the process, however that ends
    except BlockingIOError as error:
        _HELD.discard(handle)
        os.close(handle)
        raise VireidError(
            f'another process is writing to {folder}', todo='wait for it, or choose another --work-dir'
        ) from error
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        _HELD.discard(handle)
        os.close(handle)


def _let_go() -> None:
    """In a child: a loader process that outlives a killed run must not keep its folder from the next one."""
    for handle in _HELD:
        os.close(handle)
    _HELD.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_let_go)
