"""Files in folders that other users can write to: follows no links and uses only files of trusted owners."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vireid.boundary.open_flags import BINARY, NO_BLOCK, NO_FOLLOW
from vireid.errors import UnsafeFile

# another user may plant a link or a pipe in a shared folder: links are not followed, and pipes do not block
GUARDED = NO_FOLLOW | NO_BLOCK | BINARY


def open_trusted(path: Path, flags: int) -> int:
    """Opens a regular file of a trusted owner and returns its file descriptor.

    Raises:
        UnsafeFile: if it is a link, not a regular file, or belongs to another user.
        OSError: if it cannot be opened.
    """
    try:
        handle = os.open(path, flags | GUARDED, 0o666)
    except OSError:
        with suppress(FileNotFoundError):
            require_trusted(path, path.lstat())  # a more helpful error than `permission denied`
        raise
    try:
        require_trusted(path, os.fstat(handle))
    except UnsafeFile:
        os.close(handle)
        raise
    return handle


def require_trusted(path: Path, status: os.stat_result) -> None:
    """Raises UnsafeFile unless this is a regular file of the current user, root, or the owner of its folder."""
    another = 'give another folder'
    if sys.platform != 'win32' and status.st_uid not in (os.getuid(), 0, path.parent.stat().st_uid):
        raise UnsafeFile(
            f'{path} belongs to {_user(status.st_uid)}',
            allowed='a file that belongs to you, root, or the owner of the folder',
            todo=another,
        )
    if not stat.S_ISREG(status.st_mode):
        what = 'a link' if stat.S_ISLNK(status.st_mode) else 'not a regular file'
        raise UnsafeFile(f'{path} is {what}', todo=f'delete it, or {another}')


def _user(number: int) -> str:
    """Returns a user's name, or the number of a user without one."""
    try:
        import pwd

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return f'user {number}'


def forbid_others_to_write(file: BinaryIO) -> None:
    """Removes the permission of others to write to a file, which a permissive umask may grant."""
    with suppress(OSError, AttributeError):  # a file system without permissions; Windows
        os.fchmod(file.fileno(), stat.S_IMODE(os.fstat(file.fileno()).st_mode) & ~stat.S_IWOTH)


@contextmanager
def alone(lock: Path, while_waiting: Callable[[], None]) -> Iterator[bool]:
    """Holds an exclusive lock while other processes wait. The lock ends with its process, however that ends.

    Yields False where locks are unavailable: concurrent processes then repeat the work, each in its own file.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield False
        return
    with _open_lock(lock) as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                while_waiting()
                time.sleep(0.2)
            except OSError:  # a file system without locks
                yield False
                return
        yield True


def _open_lock(lock: Path) -> BinaryIO:
    """Opens a lock file and creates it if needed; never changes its content."""
    for _ in range(100):
        try:
            return os.fdopen(open_trusted(lock, os.O_RDWR), 'rb+', buffering=0)
        except FileNotFoundError:
            # the kernel may refuse O_CREAT on another user's file in a world-writable folder
            with suppress(FileExistsError):
                return os.fdopen(open_trusted(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL), 'rb+', buffering=0)
    raise OSError(errno.EAGAIN, 'the lock file keeps disappearing', str(lock))
