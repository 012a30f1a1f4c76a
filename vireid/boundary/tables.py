"""Reads CSV tables as spreadsheets write them in any locale."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from vireid.boundary.reading import read_text

DELIMITERS = ',;\t'


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str | None]]]]:
    """Reads a table with a header row, separated by commas, semicolons or tabs: the one most common in the header.

    Ignores a byte-order mark, Windows line ends and spaces around column names. Keeps bytes of file names that are
    not UTF-8.

    Returns:
        The column names; for each row, the number of its last line and its cells by column (None if the row is short).

    Raises:
        OSError: if it cannot be read.
        ValueError, csv.Error: if it is not a table.
    """
    text = read_text(path, errors='surrogateescape')
    head = text.partition('\n')[0]
    reader = csv.DictReader(io.StringIO(text), strict=True, delimiter=max(DELIMITERS, key=head.count))
    reader.fieldnames = [str(column).strip() for column in reader.fieldnames or ()]
    return list(reader.fieldnames), [(reader.line_num, row) for row in reader]
