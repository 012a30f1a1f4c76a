"""Writes files atomically, and never through a link."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

from vireid.boundary.open_flags import BINARY, NO_BLOCK, NO_FOLLOW

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW | BINARY


@contextmanager
def open_whole(path: Path, sync: bool = False) -> Iterator[BinaryIO]:
    """Opens a new file that replaces `path` when the block ends; if the block raises, nothing changes.

    The temporary file has an unpredictable name, so a link planted in the folder is not followed. If `path` itself is
    a link, the link is replaced and its target unchanged. Creates the folder if needed.

    Args:
        path: the file.
        sync: wait until the disk has the content, so that it survives a power failure.

    Raises:
        OSError: if the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name[:80]}.{secrets.token_hex(8)}.part')
    try:
        handle = os.open(part, NEW, 0o666)
    except OSError as error:
        error.filename = str(path)  # which the user knows
        raise
    try:
        with os.fdopen(handle, 'wb') as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename == str(part):  # `path` is a folder
            error.filename, error.filename2 = str(path), None
        with suppress(OSError):
            part.unlink()
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file atomically; see `open_whole`.

    Text is written as UTF-8, with bytes of file names that are not UTF-8 unchanged.

    Raises:
        OSError: if the file cannot be written.
    """
    with open_whole(path) as file:
        file.write(content.encode('utf-8', 'surrogateescape') if isinstance(content, str) else content)


def open_to_append(path: Path) -> TextIO:
    """Opens a text file to append lines, each written immediately; rejects links.

    Raises:
        OSError: if it cannot be opened.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_FOLLOW | NO_BLOCK, 0o666)
    return os.fdopen(handle, 'a', buffering=1, encoding='utf-8', errors='backslashreplace')


def remove_parts(folder: Path) -> None:
    """Removes the temporary files that `open_whole` left in a folder when its process was killed.

    Call it only while no other process writes to the folder.
    """
    for part in folder.glob('.*.part'):
        with suppress(OSError):
            part.unlink()
