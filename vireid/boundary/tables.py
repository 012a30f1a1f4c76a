"""Reads CSV tables as spreadsheets write them in any locale."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from vireid.boundary.malformed import Malformed
from vireid.boundary.reading import duplicate, read_bytes
from vireid.errors import UnsafeFile, WrongContent

DELIMITERS = ',;\t'
COLUMNS = ('path', 'identity', 'camera', 'modality', 'split', 'time', 'track')  # all that any table is read for
# Far more than any dataset has, and read within seconds and 1 GB: a file of a few KB may declare billions of cells.
ROWS, WIDTH = 500_000, 10_000
_SEPARATOR = re.compile(r'"?sep=(.)"?\n', re.IGNORECASE)  # a first line that only Excel reads


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str | None]]]]:
    """Reads a table with a header row, separated by commas, semicolons or tabs: the one most common in the header.

    Ignores a byte-order mark, Windows and old Mac line ends, the line `sep=;` of Excel, and spaces around column names.
    Also reads UTF-16 ("Unicode text" of Excel). Keeps bytes of file names that are not UTF-8.

    Returns:
        The column names; for each row, the number of its last line and its cells by column, only of those in `COLUMNS`
        (None if the row is short).

    Raises:
        OSError: if it cannot be read.
        ValueError, csv.Error: if it is not a table.
        VireidError: if it has duplicate columns, no header, or too many rows or columns.
    """
    text = _read_text(path)
    require_rows(text.count('\n'), path)
    separator = _SEPARATOR.match(text)
    head = text.lstrip('\n').partition('\n')[0]
    delimiter = separator[1] if separator else max(DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text), strict=True, delimiter=delimiter)
    if separator:
        next(reader)
    columns = column_names(next(filter(None, reader), []), path)
    if columns and columns[0].startswith('#') and not set(columns).intersection(COLUMNS):
        raise WrongContent(
            f'{path} begins with {head[:40]!r}, not with the names of the columns',
            allowed='a first line with the names of the columns',
            todo='delete the lines above it',
        )
    places = [(name, place) for place, name in enumerate(columns) if name in COLUMNS]
    return columns, [
        (reader.line_num, {name: cells[place] if place < len(cells) else None for name, place in places})
        for cells in reader
        if cells
    ]


def column_names(names: Sequence[str], path: Path) -> list[str]:
    """Returns the column names without surrounding spaces, and those in `COLUMNS` in lower case.

    `Path` is another column if there is also `path`.

    Raises:
        VireidError: if one of `COLUMNS` is there twice, or there are too many.
    """
    if len(names) > WIDTH:
        todo = 'delete the columns that are not needed'
        raise UnsafeFile(f'{path} has {len(names):,} columns', allowed=f'at most {WIDTH:,}', todo=todo)
    names = [str(name).strip() for name in names]
    exact = set(names)
    names = [name.lower() if name.lower() in COLUMNS and name.lower() not in exact else name for name in names]
    twice = duplicate(name for name in names if name in COLUMNS)
    if twice is not None:
        raise WrongContent(
            f'{path} has {names.count(twice)} columns {twice!r}',
            allowed='each column once',
            todo='delete or rename those that are not meant',
        )
    return names


def require_rows(count: int, path: Path) -> None:
    """Raises UnsafeFile if a table has more rows than can be read."""
    if count > ROWS + 1:  # and the header
        raise UnsafeFile(
            f'{path} has {count:,} lines', allowed=f'at most {ROWS:,}', todo='split it into smaller tables'
        )


def _read_text(path: Path) -> str:
    content = read_bytes(path)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode('utf-16')
    else:
        text = content.decode('utf-8-sig', 'surrogateescape')
    if '\0' in text:
        raise Malformed('it is not text')
    text = text.replace('\r\n', '\n')
    return text if '\n' in text else text.replace('\r', '\n')
