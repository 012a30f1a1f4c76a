"""Finds the images below a folder or in a table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vireid.boundary.image_files import OTHER_FORMATS, SUFFIXES
from vireid.boundary.names import find_listed
from vireid.boundary.tables import read_csv
from vireid.errors import DamagedFile, MissingKey, WrongContent, did_you_mean

# of operating systems and network drives; never those of a user, even if they contain thumbnails
SYSTEM_FOLDERS = frozenset(
    ('__macosx', '@eadir', '#recycle', '#snapshot', '@tmp', '$recycle.bin', 'system volume information', 'lost+found')
)


def walk_images(root: Path, others: list[str] | None = None) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yields each folder at any depth, with the names of its subfolders and images.

    Follows links, but yields each folder only once; skips hidden files and folders, and those of operating systems.

    Args:
        root: the folder.
        others: receives the paths of images in formats that vireid does not read.

    Raises:
        DamagedFile: if a folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise DamagedFile(
            f'{error.filename} cannot be read: {error.strerror}', todo='check that it still exists, and its permissions'
        )

    seen: set[str] = set()
    for place, folders, names in os.walk(root, followlinks=True, onerror=fail):
        if os.path.realpath(place) in seen:  # a link to a parent folder
            folders.clear()
            continue
        seen.add(os.path.realpath(place))
        folders[:] = sorted(n for n in folders if not n.startswith('.') and n.lower() not in SYSTEM_FOLDERS)
        names = sorted(name for name in names if not name.startswith('.'))
        if others is not None:
            others += [os.path.join(place, name) for name in names if name.lower().endswith(OTHER_FORMATS)]
        yield place, folders, [name for name in names if name.lower().endswith(SUFFIXES)]


def skipped_text(others: Sequence[str]) -> str:
    """Returns a warning about images in formats that vireid does not read."""
    kinds = Counter(os.path.splitext(path)[1].lower() for path in others)
    counts = ', '.join(f'{count:,} {kind}' for kind, count in kinds.most_common())
    return f'images in other formats are left out: {counts}, such as {others[0]}; convert them, for example to PNG'


def listed_images(
    path: Path,
    required: Sequence[str],
    modalities: Sequence[str],
    allowed: str,
    keep: Callable[[dict[str, str]], bool] = lambda cells: True,
) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yields each image of a table: its path, its cells without surrounding blanks, and its place, for errors.

    Args:
        path: the table.
        required: columns that it must have; `path` is one of them.
        modalities: allowed modalities, matched in any case; with '', the column may be empty or missing.
        allowed: describes an accepted table, for errors.
        keep: returns whether to read the row with these cells; the other rows are not checked.

    Raises:
        MissingKey: if a column is missing.
        WrongContent: for an empty path, a modality that is not allowed, or an image that is listed twice.
        UnsafeFile, OSError, ValueError, csv.Error: if the table cannot be read; see `read_csv`.
    """
    columns, rows = read_csv(path)
    if missing := [name for name in required if name not in columns]:
        has = f'it has: {", ".join(columns)[:200] or "nothing"}'
        raise MissingKey(
            f'{path} has no column {missing[0]!r} ({has}){did_you_mean(missing[0], columns)}',
            allowed=allowed,
            todo='add the column, or rename the one that holds it',
        )
    lines: dict[str, int] = {}
    for line, row in rows:
        where, cells = f'{path}, line {line}', {'modality': '', **{n: (text or '').strip() for n, text in row.items()}}
        if not keep(cells):
            continue
        modality = cells['modality'].lower()
        if not cells['path'] or modality not in modalities:
            problem = f'modality is {cells["modality"]!r}' if cells['path'] else 'path is empty'
            known = ' or '.join(name or 'empty' for name in modalities)
            raise WrongContent(f'{where}: {problem}', allowed=f'a path, and the modality: {known}')
        image = find_listed(path.parent, row['path'] or '')
        first = lines.setdefault(os.path.abspath(image), line)  # `a.jpg` and `x/../a.jpg`
        if first != line:
            raise WrongContent(f'{where}: {cells["path"]} is also in line {first}', todo='remove one of the lines')
        yield image, {**cells, 'modality': modality}, where
