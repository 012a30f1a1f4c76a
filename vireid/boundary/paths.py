"""Names and paths from outside: a name is a single path component, and a path stays in its folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vireid.errors import UnsafeFile

MAX_LENGTH = 100  # characters of a name; folders and files append to it, and file systems stop at 255 bytes
# Windows device names, with any suffix
_RESERVED = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\..*)?', re.IGNORECASE)


def is_name(text: str) -> bool:
    """Returns whether a string is a valid file or folder name on every system, and nothing but a name."""
    return (
        0 < len(text) <= MAX_LENGTH
        and text == text.strip()
        and text.isprintable()
        and not re.search(r'[/\\:*?"<>|]', text)
        and not text.endswith('.')
        and not text.startswith(('.', '~'))
        and not _RESERVED.fullmatch(text)
    )


def is_inside(path: str | Path, folder: str | Path) -> bool:
    """Returns whether a path is a folder or lies inside it, after links are resolved."""
    real, base = os.path.realpath(path), os.path.realpath(folder)
    return real == base or real.startswith(os.path.join(base, ''))


def inside(folder: Path, name: str) -> Path:
    """Returns the path of a file that untrusted data names or a received folder contains.

    Raises:
        UnsafeFile: if it leads out of the folder, through `..`, an absolute path or a link.
    """
    path = folder / name
    if not is_inside(path, folder):
        where = os.path.realpath(path)
        raise UnsafeFile(
            f'{path} leads out of its folder, to {where}',
            allowed=f'a path below {folder}',
            todo='if you trust it, copy that file into the folder',
        )
    return path
