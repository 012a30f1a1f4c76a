"""Index files: lines of `relative/path label`."""

from __future__ import annotations

from pathlib import Path

from vireid.core.errors import VireidError


def read_index(index: Path) -> list[tuple[str, int]]:
    """Returns the (relative path, label) of each line; empty lines are passed over.

    Raises:
        VireidError: if the file cannot be read, names nothing, has a malformed line or names an image twice.
    """
    try:
        lines = index.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise VireidError(f'index {index} cannot be read: {error}', todo='restore it from the dataset') from error
    found: list[tuple[str, int]] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        path, _, label = line.strip().rpartition(' ')
        if not path or not (label.isascii() and label.isdecimal()):
            raise VireidError(
                f'{index}, line {number}: {line[:60]!r}', allowed='relative/path label, such as Visible/1/a.bmp 0'
            )
        if path in seen:
            raise VireidError(f'{index}, line {number}: {path} is also in line {seen[path]}')
        seen[path] = number
        found.append((path, int(label)))
    if not found:
        raise VireidError(f'index {index} names no image', todo='restore it from the dataset')
    return found
