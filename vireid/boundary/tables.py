"""Tables of text (CSV), as spreadsheets of all countries write them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from vireid.boundary.reading import read_text

DELIMITERS = ',;\t'


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str | None]]]]:
    """Reads a table with a head; columns are separated by commas, semicolons or tabs, whichever the head has most of.

    A byte-order mark, Windows line ends and blanks around the names of columns are no part of it. Bytes of file names
    that are not UTF-8 are kept.

    Returns:
        The names of the columns; for each row the line that it ends on, and its cells by column, None if it is short.

    Raises:
        OSError: if it cannot be read.
        ValueError, csv.Error: if it is no table.
    """
    text = read_text(path, errors='surrogateescape')
    head = text.partition('\n')[0]
    reader = csv.DictReader(io.StringIO(text), strict=True, delimiter=max(DELIMITERS, key=head.count))
    reader.fieldnames = [str(column).strip() for column in reader.fieldnames or ()]
    return list(reader.fieldnames), [(reader.line_num, row) for row in reader]
