"""Names and paths from outside: a name is one part of a path, and a path stays in its folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vireid.core.errors import VireidError

LONGEST = 100  # characters of a name; folders and files add to it, and file systems stop at 255 bytes
# device names of Windows, with any suffix
_RESERVED = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\..*)?', re.IGNORECASE)


def is_name(text: str) -> bool:
    """Says whether a text can name a file or a folder everywhere, and names nothing but that."""
    return (
        0 < len(text) <= LONGEST
        and text == text.strip()
        and text.isprintable()
        and not re.search(r'[/\\:*?"<>|]', text)
        and not text.endswith('.')
        and not text.startswith(('.', '~'))
        and not _RESERVED.fullmatch(text)
    )


def is_inside(path: str | Path, folder: str | Path) -> bool:
    """Says whether a path lies in a folder, or is that folder, once links are followed."""
    real, base = os.path.realpath(path), os.path.realpath(folder)
    return real == base or real.startswith(os.path.join(base, ''))


def inside(folder: Path, name: str) -> Path:
    """Returns the path of a file that data names or a received folder holds.

    Raises:
        VireidError: if it leads out of the folder, by `..`, as an absolute path or through a link.
    """
    path = folder / name
    if not is_inside(path, folder):
        where = os.path.realpath(path)
        raise VireidError(
            f'{path} leads out of its folder, to {where}',
            allowed=f'a path below {folder}',
            todo='if you trust it, put a copy of that file into the folder',
        )
    return path
