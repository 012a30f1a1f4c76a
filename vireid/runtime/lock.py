"""Locks a folder, such as that of a run or an index, so that only one process writes to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vireid.errors import InUse

_HELD: set[int] = set()  # descriptors of the folders locked by this process


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Prevents other processes from writing to a folder inside the block.

    Raises:
        InUse: if another process has locked it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    _HELD.add(handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the process ends, even if killed
    except BlockingIOError as error:
        _HELD.discard(handle)
        os.close(handle)
        raise InUse(f'another process is writing to {folder}', todo='wait for it, or choose another folder') from error
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        _HELD.discard(handle)
        os.close(handle)


def _release_in_child() -> None:
    """Releases the locks in a forked child: a loader process that outlives a killed run must not keep them."""
    for handle in _HELD:
        os.close(handle)
    _HELD.clear()


if sys.platform != 'win32':
    os.register_at_fork(after_in_child=_release_in_child)
