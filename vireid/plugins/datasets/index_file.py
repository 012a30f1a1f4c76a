"""Index files with lines `relative/path label`."""

from __future__ import annotations

from pathlib import Path

from vireid.boundary.reading import read_text, reads
from vireid.errors import UnsafeFile, WrongContent


@reads('an index file', '*.txt', allowed='lines of a relative path and a label', todo='restore it from the dataset')
def read_index(index: Path) -> list[tuple[str, int]]:
    """Returns the (relative path, label) of each line, skipping empty lines.

    Raises:
        VireidError: if the file cannot be read, has no or a malformed line, or names an image twice.
    """
    entries: list[tuple[str, int]] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(read_text(index).splitlines(), 1):
        if not line.strip():
            continue
        path, _, label = line.strip().replace('\t', ' ').rpartition(' ')
        path = path.strip()
        if not path or not (label.isascii() and label.isdecimal() and len(label) < 10) or not path.isprintable():
            raise WrongContent(
                f'{index}, line {number}: {line[:60]!r}', allowed='relative/path label, such as Visible/1/a.bmp 0'
            )
        if path.startswith('/') or '..' in path.split('/') or '\\' in path:
            raise UnsafeFile(f'{index}, line {number} names {path}', allowed='images inside the dataset folder')
        path = '/'.join(part for part in path.split('/') if part not in ('', '.'))
        if path in seen:
            raise WrongContent(f'{index}, line {number}: {path} is also in line {seen[path]}')
        seen[path] = number
        entries.append((path, int(label)))
    if not entries:
        raise WrongContent(f'index {index} names no image', todo='restore it from the dataset')
    return entries
