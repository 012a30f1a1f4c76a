"""Manifest: your own images, listed in a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from vireid.boundary.names import camera_number, find_listed, plain_name
from vireid.boundary.reading import open_regular, reads
from vireid.boundary.tables import read_csv
from vireid.core.errors import SHOWN, VireidError, did_you_mean, nearest, raise_all
from vireid.core.types import MODALITIES, Sample
from vireid.core.wording import counted
from vireid.plugins.datasets.own_images import SPLITS, OwnImages, number_identities
from vireid.plugins.datasets.splitting import SplitAssignment

LINE = 'line of the file'
SPLIT = 'split'
COLUMNS = ('path', 'identity', 'camera', 'modality', SPLIT)


class Manifest(OwnImages):
    """Reads a CSV or Parquet table with the columns path, identity, camera, modality and split; others are ignored.

    `path` is absolute or relative to the table's folder. `identity` is a number or any text. `camera` is a number of at
    least 0, or text such as `cam1`. `modality` is `visible` or `infrared`. `split` is any name; training uses `train`
    and evaluation `test`. Spaces around a cell are stripped. Columns are separated by commas, semicolons or tabs. With
    `folds`, the column `split` is optional; `vireid data split` writes one.

    Args:
        root: the folder of the table, or the table itself.
        file: name of the table in the folder.
        folds: number of folds for K-fold cross-validation over the identities with images of both modalities, in any
            split. The test split is one fold, and all other identities are trained on.
        trial: the fold to test on, 1 to `folds`; `vireid train --trials 1-5` runs them one after the other.
        seed: random seed of the folds and of `val_share`.
        val_share: fraction of the training identities, at least two, to use as the split `val` if the table has none; 0
            disables it.
        identities: number of training identities to keep, for learning curves; None keeps all.
        draw: random seed of that subset. With the same draw, a smaller subset is part of a larger one.

    Raises:
        VireidError: if the table is missing or malformed, there are too few identities, or an argument is out of range.
    """

    def __init__(
        self,
        root: str | None = None,
        file: str = 'manifest.csv',
        folds: int | None = None,
        trial: int = 1,
        seed: int = 0,
        val_share: float = 0.0,
        identities: int | None = None,
        draw: int = 0,
    ) -> None:
        if root is None:
            raise VireidError('Manifest: no table was given', todo='set --data-root to the folder of manifest.csv')
        assignment = SplitAssignment(folds, trial, seed, val_share, identities, draw)
        given = Path(root).expanduser()
        self.path = given if given.is_file() else given / file
        other = self.path.with_suffix('.parquet')
        if not self.path.exists() and other.exists():
            self.path = other
        self.root = self.path.parent
        if not self.path.exists() and any((given / m).is_dir() for m in MODALITIES):
            raise VireidError(
                f'Manifest: there is no table {self.path}, but {given} has folders of images',
                todo=f'write a table with vireid data split {quote(str(given))}, or set dataset.type=Folders',
            )
        columns, rows = _read_parquet(self.path) if self.path.suffix == '.parquet' else _read_csv(self.path)
        _require_columns(columns, self.path)
        self.other_columns = tuple(column for column in columns if column not in COLUMNS)
        numbers = number_identities(plain_name(row['identity']) for row in rows)
        listed = _samples(rows, numbers, self.path)
        super().__init__(f'manifest {self.path}', numbers, listed, assignment, _no_split(columns, rows, self.path))


@reads('a table of images', '*.csv')
def _read_csv(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    try:
        columns, rows = read_csv(path)
        return columns, [{**row, LINE: line} for line, row in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise VireidError(
            f'manifest {path} cannot be read: {error}', allowed=f'a CSV or Parquet file with {", ".join(COLUMNS)}'
        ) from error


@reads('a table of images', '*.parquet')
def _read_parquet(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError as error:
        raise VireidError(
            'reading Parquet files needs PyArrow, which is not installed',
            todo="pip install 'vireid[parquet]', or use CSV",
        ) from error
    try:
        with open_regular(path) as file:
            table = read_table(file)
    except (OSError, ArrowException) as error:
        raise VireidError(f'manifest {path} cannot be read: {error}') from error
    used = table.select([column for column in COLUMNS if column in table.column_names])
    return table.column_names, [{**row, LINE: number} for number, row in enumerate(used.to_pylist(), 1)]


def _require_columns(columns: Sequence[str], path: Path) -> None:
    for column in COLUMNS:
        if column not in columns and column != SPLIT:
            raise _no_column(column, columns, path)


def _no_column(column: str, columns: Sequence[str], path: Path, todo: str | None = None) -> VireidError:
    match = nearest(column, columns)
    meant = f'; is {match!r} meant to be {column!r}?' if match else ''
    return VireidError(
        f'manifest {path} has no column {column!r} (it has: {", ".join(columns)}){meant}',
        allowed=', '.join(COLUMNS),
        todo=todo,
    )


def _no_split(columns: Sequence[str], rows: Sequence[dict[str, Any]], path: Path) -> VireidError | None:
    """Returns an error if images have no split; it is raised only where the table's splits are used."""
    todo = f'create splits with `vireid data split {path} -o split.csv`, or cross-validate with dataset.folds=5'
    if SPLIT not in columns:
        return _no_column(SPLIT, columns, path, todo)
    lines = [row[LINE] for row in rows if not str(row[SPLIT] or '').strip()]
    if lines:
        return VireidError(
            f'manifest {path}, line {lines[0]}: split is empty (in {counted(len(lines), "line")} of {len(rows):,})',
            allowed='a split in each line',
            todo=todo,
        )
    return None


def _samples(rows: Sequence[dict[str, Any]], numbers: Mapping[str, int], path: Path) -> dict[str, list[Sample]]:
    """Returns the samples by split; '' is the key of those without a split."""
    seen: dict[str, int] = {}
    splits: dict[str, list[Sample]] = {}
    problems: list[VireidError] = []
    for row in rows:
        image = find_listed(path.parent, str(row['path'])) if row['path'] else ''
        if (problem := _problem(row, seen.get(image), path)) is not None:
            problems.append(problem)
            if len(problems) == SHOWN:
                break
            continue
        seen[image] = row[LINE]
        name, modality = plain_name(row['identity']), str(row['modality']).strip().lower()
        split = str(row.get(SPLIT) or '').strip()
        sample = Sample(image, numbers[name], _camera(row['camera']) or 0, modality, name)
        splits.setdefault(split.lower() if split.lower() in SPLITS else split, []).append(sample)
    raise_all(problems)
    return splits


def _problem(row: Mapping[str, Any], earlier: int | None, path: Path) -> VireidError | None:
    """Returns what is wrong with a line, of whose image `earlier` is another line."""
    where, modality = f'manifest {path}, line {row[LINE]}', str(row['modality'] or '').strip().lower()
    if not str(row['path'] or '').strip() or not plain_name('' if row['identity'] is None else row['identity']):
        return VireidError(f'{where}: path or identity is empty', allowed='a path and an identity in each line')
    if modality not in MODALITIES:
        given = f'{where}: modality is {row["modality"]!r}{did_you_mean(modality, MODALITIES)}'
        return VireidError(given, allowed=', '.join(MODALITIES))
    if _camera(row['camera']) is None:
        given = f'{where}: camera is {row["camera"]!r}'
        return VireidError(given, allowed='a number of 0 to 999999999, or text such as cam1')
    return None if earlier is None else VireidError(f'{where}: {row["path"]} is also in line {earlier}')


def _camera(cell: Any) -> int | None:
    """Returns the number in `3`, `cam3` or `3.0` (as in float columns of tables with gaps), or None."""
    text = str(cell).strip().removesuffix('.0')
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else camera_number(text)
