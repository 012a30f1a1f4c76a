"""One's own images, listed in a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from vireid.boundary.names import camera_number, find_listed, plain_name
from vireid.boundary.reading import open_regular, reads
from vireid.boundary.tables import read_csv
from vireid.core.errors import VireidError, did_you_mean
from vireid.core.types import MODALITIES, Sample
from vireid.core.wording import counted
from vireid.plugins.datasets.own_images import SPLITS, OwnImages, number_identities
from vireid.plugins.datasets.splitting import Dealing

LINE = 'line of the file'
SPLIT = 'split'
COLUMNS = ('path', 'identity', 'camera', 'modality', SPLIT)


class Manifest(OwnImages):
    """Reads a CSV or Parquet table with the columns path, identity, camera, modality, split; others are passed over.

    `path` is relative to the table's folder, or absolute; `identity` a number or any text; `camera` a number from 0, or
    `cam1`; `modality` `visible` or `infrared`; `split` any name - training reads `train`, scoring `test`. Blanks at the
    ends of a cell are no part of it, and columns are separated by commas, semicolons or tabs. With `folds` there
    need not be a column `split`; `vireid data split` writes one.

    Args:
        root: the folder, or the table itself.
        file: the table's name in the folder.
        folds: for cross-validation: the test split is one of so many equally large groups of the identities that both
            modalities saw, whatever their split says. All others are trained on.
        trial: which group is tested, 1 to `folds`; `vireid train --trials 1-5` takes each in turn.
        seed: of the groups, and of `val_share`.
        val_share: share of the training identities that becomes the split `val` if the table has none, at least two;
            0 for none.
        identities: keeps only so many training identities, for learning curves; None keeps all.
        draw: seed of those. Of one draw, the fewer are among the more.

    Raises:
        VireidError: if the table is missing or malformed, with the line; or if it has too few identities.
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
            raise VireidError('Manifest: no table was given', todo='give --data-root with the folder of manifest.csv')
        dealing = Dealing(folds, trial, seed, val_share, identities, draw)
        given = Path(root).expanduser()
        self.path = given if given.is_file() else given / file
        other = self.path.with_suffix('.parquet')
        if not self.path.exists() and other.exists():
            self.path = other
        self.root = self.path.parent
        if not self.path.exists() and any((given / m).is_dir() for m in MODALITIES):
            raise VireidError(
                f'Manifest: there is no table {self.path}, and {given} has folders of people',
                todo=f'write one: vireid data split {quote(str(given))}; or read the folders: dataset.type=Folders',
            )
        columns, rows = _read_parquet(self.path) if self.path.suffix == '.parquet' else _read_csv(self.path)
        _require_columns(columns, self.path)
        self.other_columns = tuple(column for column in columns if column not in COLUMNS)
        numbers = number_identities(plain_name(row['identity']) for row in rows)
        listed = _samples(rows, numbers, self.path)
        super().__init__(f'manifest {self.path}', numbers, listed, dealing, _no_split(columns, rows, self.path))


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
            'Parquet files are read by PyArrow, which is not installed',
            todo="pip install 'vireid[parquet]', or use CSV",
        ) from error
    try:
        with open_regular(path) as file:
            table = read_table(file)
    except (OSError, ArrowException) as error:
        raise VireidError(f'manifest {path} cannot be read: {error}') from error
    used = table.select([column for column in COLUMNS if column in table.column_names])
    return table.column_names, [{**row, LINE: number} for number, row in enumerate(used.to_pylist(), 1)]


def _require_columns(found: Sequence[str], path: Path) -> None:
    for column in COLUMNS:
        if column not in found and column != SPLIT:
            raise _lacks(column, found, path)


def _lacks(column: str, found: Sequence[str], path: Path, todo: str | None = None) -> VireidError:
    return VireidError(
        f'manifest {path} has no column {column!r} (it has: {", ".join(found)}){did_you_mean(column, found)}',
        allowed=', '.join(COLUMNS),
        todo=todo,
    )


def _no_split(columns: Sequence[str], rows: Sequence[dict[str, Any]], path: Path) -> VireidError | None:
    """Returns the error that images have no split, if so; it only matters where the table's splits are used."""
    todo = f'make splits with `vireid data split {path} -o split.csv`, or cross-validate with dataset.folds=5'
    if SPLIT not in columns:
        return _lacks(SPLIT, columns, path, todo)
    lines = [row[LINE] for row in rows if not str(row[SPLIT] or '').strip()]
    if lines:
        return VireidError(
            f'manifest {path}, line {lines[0]}: split is empty (in {counted(len(lines), "line")} of {len(rows):,})',
            allowed='something in each',
            todo=todo,
        )
    return None


def _samples(rows: Sequence[dict[str, Any]], numbers: Mapping[str, int], path: Path) -> dict[str, list[Sample]]:
    """Returns the samples by split, '' where it is empty."""
    seen: dict[str, int] = {}
    splits: dict[str, list[Sample]] = {}
    for row in rows:
        line, name = row[LINE], plain_name('' if row['identity'] is None else row['identity'])
        where = f'manifest {path}, line {line}'
        modality, camera = str(row['modality'] or '').strip().lower(), _camera(row['camera'])
        if not str(row['path'] or '').strip() or not name:
            raise VireidError(f'{where}: path or identity is empty', allowed='something in each')
        if modality not in MODALITIES:
            raise VireidError(
                f'{where}: modality is {row["modality"]!r}{did_you_mean(modality, MODALITIES)}',
                allowed=', '.join(MODALITIES),
            )
        if camera is None:
            raise VireidError(
                f'{where}: camera is {row["camera"]!r}', allowed='a number from 0 to 999999999, or such as cam1'
            )
        image = find_listed(path.parent, str(row['path']))
        if image in seen:
            raise VireidError(f'{where}: {row["path"]} is also in line {seen[image]}')
        seen[image] = line
        split = str(row.get(SPLIT) or '').strip()
        sample = Sample(image, numbers[name], camera, modality, name)
        splits.setdefault(split.lower() if split.lower() in SPLITS else split, []).append(sample)
    return splits


def _camera(cell: Any) -> int | None:
    """Returns the number in `3`, in `3.0`, which tables with gaps hold, or in `cam3`; None if there is none."""
    text = str(cell).strip().removesuffix('.0')
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else camera_number(text)
