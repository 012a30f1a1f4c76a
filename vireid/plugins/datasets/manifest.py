"""Manifest: your own images, listed in a table."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any, cast

from vireid.boundary.names import camera_number, find_listed, plain_name
from vireid.boundary.reading import ARRAYS, open_regular, reads
from vireid.boundary.tables import column_names, read_csv, require_rows
from vireid.console.wording import counted
from vireid.core.types import MODALITIES, Sample
from vireid.errors import (
    MAX_ERRORS,
    MissingFile,
    MissingKey,
    MissingPackage,
    UnsafeFile,
    VireidError,
    WrongContent,
    did_you_mean,
    nearest,
    raise_all,
)
from vireid.plugins.datasets.own_images import SPLITS, UNNAMED, OwnImages, number_identities
from vireid.plugins.datasets.splitting import Folds, Seed, Share, SplitAssignment

LINE = 'line of the file'
SPLIT = 'split'
COLUMNS = ('path', 'identity', 'camera', 'modality', SPLIT)
FEW = 3  # lines or values that a message lists
EMPTY = ('', 'nan', 'NaN', '#N/A', '<NA>')  # how spreadsheets and pandas write an empty cell; Nan is a name
FAILED = ('#ref!', '#value!', '#name?')  # errors of a spreadsheet's formulas, in lower case
ROUNDED = re.compile(r'\d(?:[.,]\d+)?E\+\d\d+', re.IGNORECASE)  # how Excel saves long numbers, so that several are one
WHY = {
    'nobody': ', so all these images would be one person',
    'rounded': ': a spreadsheet has rounded the number, so different people may have become one',
}
ALLOWED = {
    'empty': 'a path and an identity in each line',
    'nobody': 'the number or name of one person',
    'rounded': 'all digits of a number',
    'modality': ', '.join(MODALITIES),
    'camera': 'a number from 0 to 999999999, or text such as cam1',
    'twice': 'each image once',
}
TODO = {
    'empty': 'fill in the cells, or delete the lines',
    'camera': 'write the number of the camera',
    'nobody': 'delete the lines of people who are not known, or name each of these people',
    'rounded': 'format the column as text in the original spreadsheet, then save it as CSV again',
    'twice': 'delete all lines of an image but one',
}


class Manifest(OwnImages):
    """Reads a CSV or Parquet table with the columns path, identity, camera, modality and split; others are ignored.

    `path` is absolute or relative to the table's folder. `identity` is a number or any text. `camera` is a number of at
    least 0, or text such as `cam1`. `modality` is `visible` or `infrared`. `split` is any name but a misspelling of
    `train`, `val` or `test`; training uses `train` and evaluation `test`. Spaces around a cell are stripped. Columns
    are separated by commas, semicolons or tabs. With `folds`, the column `split` is optional; `vireid data split`
    writes one.

    Args:
        root: the folder of the table, or the table itself.
        file: name of the table in the folder.
        folds: number of folds for K-fold cross-validation over the identities with images of both modalities, in any
            split. The test split is one fold, and all other identities are trained on.
        fold: the fold to test on, 1 to `folds`; `vireid train --folds 5` trains a model for each.
        seed: random seed of the folds and of `val_share`.
        val_share: fraction of the training identities, at least two, to use as the split `val` if the table has none; 0
            disables it.
        identities: number of training identities to keep, for learning curves; None keeps all.
        draw: random seed of that subset. With the same draw, a smaller subset is part of a larger one.

    Raises:
        VireidError: if the table is missing or malformed, there are too few identities, or arguments do not fit
            together.
    """

    def __init__(
        self,
        root: str | None = None,
        file: str = 'manifest.csv',
        folds: Folds = None,
        fold: int = 1,
        seed: Seed = 0,
        val_share: Share = 0.0,
        identities: int | None = None,
        draw: Seed = 0,
    ) -> None:
        if root is None:
            raise MissingKey('Manifest: no table was given', todo='set --data-root to the folder of manifest.csv')
        assignment = SplitAssignment(folds, fold, seed, val_share, identities, draw)
        given = Path(root).expanduser()
        self.path = given if given.is_file() else given / file
        other = self.path.with_suffix('.parquet')
        if not self.path.exists() and other.exists():
            self.path = other
        self.root = self.path.parent
        if not self.path.exists() and any((given / m).is_dir() for m in MODALITIES):
            raise MissingFile(
                f'Manifest: there is no table {self.path}, but {given} has folders of images',
                todo=f'write a table with vireid data split {quote(str(given))}, or set dataset.type=Folders',
            )
        columns, rows = _read_parquet(self.path) if self.path.suffix == '.parquet' else _read_csv(self.path)
        _require_columns(columns, self.path)
        self.other_columns = tuple(column for column in columns if column not in COLUMNS)
        names = {cell: plain_name(cell) for cell in dict.fromkeys(row['identity'] for row in rows)}
        numbers = number_identities(names.values())
        listed = _samples(rows, names, numbers, self.path)
        split_error = _no_split(columns, rows, self.path) or _misspelled_split(rows, self.path)
        skipped = () if folds or split_error else _unused(listed)
        super().__init__(f'manifest {self.path}', numbers, listed, assignment, split_error, skipped)


@reads('a table of images', '*.csv', allowed=f'a CSV or Parquet file with {", ".join(COLUMNS)}')
def _read_csv(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    columns, numbered = read_csv(path)
    rows: list[dict[str, Any]] = []
    for line, row in numbered:
        rows.append(cast('dict[str, Any]', row))  # a copy would double the memory
        rows[-1][LINE] = line
    return columns, rows


@reads('a table of images', '*.parquet')
def _read_parquet(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingPackage(
            'reading Parquet files needs PyArrow, which is not installed',
            todo='pip install "vireid[parquet]", or use CSV',
        ) from error
    with open_regular(path) as file:
        parquet = ParquetFile(file)
        names, columns = parquet.schema_arrow.names, column_names(parquet.schema_arrow.names, path)
        used = {name: column for name, column in zip(names, columns, strict=True) if column in COLUMNS}
        _require_small(parquet, used, path)
        # a file of a few KB may refer to one text millions of times; a dictionary holds it only once
        table = ParquetFile(file, metadata=parquet.metadata, read_dictionary=list(used)).read(
            list(used), use_threads=False
        )
    cells = [_cells(table[name]) for name in used]
    if sum(len(cell) for column in cells for cell in column if isinstance(cell, (str, bytes))) > ARRAYS:
        raise _too_large(path)
    keys = (*used.values(), LINE)
    return columns, [dict(zip(keys, row, strict=True)) for row in zip(*cells, range(1, len(table) + 1), strict=True)]


def _require_small(parquet: Any, used: Iterable[str], path: Path) -> None:
    """Raises VireidError if a Parquet file has too many rows, or its used columns contain lists.

    The sizes that it declares for each column are not read: PyArrow ends the process if these are damaged.
    """
    from pyarrow.types import is_nested

    require_rows(parquet.metadata.num_rows, path)
    for name in used:
        kind = parquet.schema_arrow.field(name).type
        if is_nested(kind):
            raise WrongContent(f'manifest {path}: the column {name!r} contains {kind}', allowed='text or numbers')


def _too_large(path: Path) -> VireidError:
    return UnsafeFile(
        f'manifest {path} is too large',
        allowed=f'at most {ARRAYS / 2**20:.0f} MiB in {", ".join(COLUMNS)}',
        todo='split it into smaller tables',
    )


def _cells(column: Any) -> list[Any]:
    """Returns the values of a column of a Parquet file; None for missing ones, which pandas may write as NaN."""
    from pyarrow import DictionaryArray

    cells: list[Any] = []
    for chunk in column.chunks:
        if isinstance(chunk, DictionaryArray):
            values = [*chunk.dictionary.to_pylist(), None]
            cells += [values[-1 if index is None else index] for index in chunk.indices.to_pylist()]
        else:
            cells += chunk.to_pylist()
    return [None if cell != cell else cell for cell in cells]


def _require_columns(columns: Sequence[str], path: Path) -> None:
    for column in COLUMNS:
        if column not in columns and column != SPLIT:
            raise _no_column(column, columns, path)


def _no_column(column: str, columns: Sequence[str], path: Path, todo: str | None = None) -> VireidError:
    match = nearest(column, columns)
    meant = f'; is {match!r} meant to be {column!r}?' if match else ''
    return MissingKey(
        f'manifest {path} has no column {column!r} (it has: {", ".join(columns)}){meant}',
        allowed=', '.join(COLUMNS),
        todo=todo,
    )


def _no_split(columns: Sequence[str], rows: Sequence[dict[str, Any]], path: Path) -> VireidError | None:
    """Returns an error if images have no split; it is raised only where the table's splits are used."""
    todo = f'create splits with `vireid data split {path} -o split.csv`, or cross-validate with dataset.folds=5'
    if SPLIT not in columns:
        return _no_column(SPLIT, columns, path, todo)
    lines = [row[LINE] for row in rows if not _split(row[SPLIT])]
    if lines:
        return WrongContent(
            f'manifest {path}, line {lines[0]}: split is empty (in {counted(len(lines), "line")} of {len(rows):,})',
            allowed='a split in each line',
            todo=todo,
        )
    return None


def _misspelled_split(rows: Sequence[dict[str, Any]], path: Path) -> VireidError | None:
    """Returns an error if a split seems to be meant as another; it is raised only where the table's splits are used."""
    lines: dict[str, list[int]] = {}
    for row in rows:
        if (split := _split(row.get(SPLIT))) not in SPLITS:
            lines.setdefault(split, []).append(row[LINE])
    shown = []
    for split in list(lines)[:MAX_ERRORS]:
        # `test2` and `test-night` are splits of their own, and so are `rest` and `pretrain`
        meant = 'val' if split.lower().startswith('valid') else nearest(split, SPLITS)
        if meant and split.isalpha() and split[0].lower() == meant[0]:
            shown.append(f"{_numbered(lines[split])}: split is {split!r}, did you mean '{meant}'?")
    if not shown:
        return None
    return WrongContent(
        f'manifest {path}, {"; ".join(shown[:FEW])}',
        allowed=f'{", ".join(SPLITS)}, or a clearly different name for images that are not used',
        todo='correct the split',
    )


def _unused(listed: Mapping[str, Sequence[Sample]]) -> list[str]:
    """Returns a sentence if images are in other splits than those of vireid."""
    others = {split: len(samples) for split, samples in listed.items() if split not in ('', *SPLITS, 'unmatched')}
    if not others:
        return []
    shown = [f'{split!r} ({counted(number, "image")})' for split, number in list(others.items())[:FEW]]
    more = [f'and {len(others) - FEW:,} more'] if len(others) > FEW else []
    return [f'neither trained nor tested on are the images of the split {", ".join([*shown, *more])}']


def _numbered(lines: Sequence[int]) -> str:
    """Returns `line 2`, or `lines 2, 3, 4 and 60 more`."""
    shown = ', '.join(map(str, lines[:FEW])) + (f' and {len(lines) - FEW:,} more' if len(lines) > FEW else '')
    return f'line {shown}' if len(lines) == 1 else f'lines {shown}'


def _split(cell: Any) -> str:
    split = '' if cell is None else str(cell).strip()
    return split.lower() if split.lower() in SPLITS else '' if split in EMPTY else split


def _samples(
    rows: Sequence[dict[str, Any]], names: Mapping[Any, str], numbers: Mapping[str, int], path: Path
) -> dict[str, list[Sample]]:
    """Returns the samples by split; '' is the key of those without a split.

    Args:
        rows: the rows of the table.
        names: the name of the person, by the cell of the table.
        numbers: the number of each person, by name.
        path: the table.
    """
    wrong = {cell: error for cell, name in names.items() if (error := _wrong_name(cell, name))}
    folder, here = path.parent, '' if path.is_absolute() else os.getcwd()
    seen: dict[str, int] = {}
    splits: dict[str, list[Sample]] = {}
    problems: dict[str, dict[str, list[int]]] = {}  # the lines, by kind and text
    problem: tuple[str, str] | None
    for row in rows:
        listed, modality, camera = row['path'], str(row['modality'] or '').strip().lower(), _camera(row['camera'])
        problem = wrong.get(row['identity'])
        if listed is None or str(listed).strip() in EMPTY:
            problem = 'empty', 'path or identity is empty'
        elif problem is None and modality not in MODALITIES:
            problem = 'modality', f'modality is {row["modality"]!r}'
        elif problem is None and camera is None:
            problem = 'camera', f'camera is {row["camera"]!r}'
        if problem is None:
            image = find_listed(folder, str(listed))
            place = os.path.normpath(os.path.join(here, image))  # links are not followed: that reads the disk per image
            if place not in seen:
                seen[place] = row[LINE]
                name = names[row['identity']]
                sample = Sample(image, numbers[name], camera or 0, modality, name)
                splits.setdefault(_split(row.get(SPLIT)), []).append(sample)
                continue
            problem = 'twice', f'{listed} is also in line {seen[place]}'
        kind, text = problem
        problems.setdefault(kind, {}).setdefault(text, []).append(row[LINE])
    raise_all([_error(kind, texts, path) for kind, texts in problems.items()])
    return splits


def _wrong_name(cell: Any, name: str) -> tuple[str, str] | None:
    """Returns what is wrong with an identity: the kind and a text."""
    if cell is None or not name:
        return 'empty', 'path or identity is empty'
    if name in EMPTY:
        return 'empty', f'identity is {cell!r}, which means that it is empty'
    if name.casefold() in (*UNNAMED, *FAILED):
        return 'nobody', f'identity is {cell!r}'
    if ROUNDED.fullmatch(name):
        return 'rounded', f'identity is {cell!r}'
    return None


def _error(kind: str, texts: Mapping[str, Sequence[int]], path: Path) -> VireidError:
    """Returns one error of a kind: a single mistake may be in all lines."""
    shown = []
    for text, lines in list(texts.items())[:FEW]:
        hint = did_you_mean(text.removeprefix('modality is ').strip('\'" '), MODALITIES) if kind == 'modality' else ''
        shown.append(f'{_numbered(lines)}: {text}{hint}')
    more = sum(map(len, list(texts.values())[FEW:]))
    shown += [f'and {counted(more, "more line")}'] if more else []
    return WrongContent(
        f'manifest {path}, {"; ".join(shown)}{WHY.get(kind, "")}', allowed=ALLOWED[kind], todo=TODO.get(kind)
    )


def _camera(cell: Any) -> int | None:
    """Returns the number in `3`, `cam3` or `3.0` (as in float columns of tables with gaps), or None."""
    text = str(cell).strip().removesuffix('.0')
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else camera_number(text)
