"""One's own images, listed in a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vireid.core.errors import VireidError, did_you_mean
from vireid.core.types import MODALITIES, Sample
from vireid.plugins.datasets.own_images import number_identities, require_split

LINE = 'line of the file'
COLUMNS = ('path', 'identity', 'camera', 'modality', 'split')


class Manifest:
    """Reads a CSV or Parquet table with the columns path, identity, camera, modality, split; others are passed over.

    `path` is relative to the table's folder, or absolute; `identity` a number or any text; `camera` a number from 0;
    `modality` `visible` or `infrared`; `split` any name - training reads `train`, scoring `test`.

    Args:
        root: the folder, or the table itself.
        file: the table's name in the folder.

    Raises:
        VireidError: if the table is missing or malformed, with the line.
    """

    def __init__(self, root: str | None = None, file: str = 'manifest.csv') -> None:
        if root is None:
            raise VireidError('Manifest: no table was given', todo='give --data-root with the folder of manifest.csv')
        given = Path(root).expanduser()
        self.path = given if given.is_file() else given / file
        other = self.path.with_suffix('.parquet')
        if not self.path.exists() and other.exists():
            self.path = other
        self.root = self.path.parent
        rows = _read_parquet(self.path) if self.path.suffix == '.parquet' else _read_csv(self.path)
        self._splits = _samples(rows, self.path)

    def split(self, name: str) -> tuple[Sample, ...]:
        """Returns the samples of a split, visible first, otherwise in the table's order."""
        return require_split(self._splits, name, str(self.path))


def _read_csv(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file, strict=True)
            _require_columns(reader.fieldnames or (), path)
            return [{**row, LINE: reader.line_num} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise VireidError(
            f'manifest {path} cannot be read: {error}', allowed=f'a CSV or Parquet file with {", ".join(COLUMNS)}'
        ) from error


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError as error:
        raise VireidError(
            'Parquet files are read by PyArrow, which is not installed',
            todo="pip install 'vireid[parquet]', or use CSV",
        ) from error
    try:
        table = read_table(path)
    except (OSError, ArrowException) as error:
        raise VireidError(f'manifest {path} cannot be read: {error}') from error
    _require_columns(table.column_names, path)
    return [{**row, LINE: number} for number, row in enumerate(table.select(list(COLUMNS)).to_pylist(), 1)]


def _require_columns(found: Sequence[str], path: Path) -> None:
    for column in COLUMNS:
        if column not in found:
            raise VireidError(
                f'manifest {path} has no column {column!r} (it has: {", ".join(found)}){did_you_mean(column, found)}',
                allowed=', '.join(COLUMNS),
            )


def _samples(rows: Sequence[dict[str, Any]], path: Path) -> dict[str, list[Sample]]:
    numbers = number_identities(row['identity'] for row in rows)
    seen: dict[str, int] = {}
    splits: dict[str, list[Sample]] = {}
    for row in rows:
        line = row[LINE]
        where = f'manifest {path}, line {line}'
        image = str(path.parent / str(row['path'] or ''))
        camera = str(row['camera']).removesuffix('.0')  # tables with gaps hold whole numbers as floats
        if not row['path'] or row['identity'] in (None, '') or not row['split']:
            raise VireidError(f'{where}: path, identity or split is empty', allowed='something in each')
        if row['modality'] not in MODALITIES:
            raise VireidError(
                f'{where}: modality is {row["modality"]!r}{did_you_mean(str(row["modality"]), MODALITIES)}',
                allowed=', '.join(MODALITIES),
            )
        if not (camera.isascii() and camera.isdecimal() and len(camera) < 10):
            raise VireidError(f'{where}: camera is {row["camera"]!r}', allowed='a number from 0 to 999999999')
        if image in seen:
            raise VireidError(f'{where}: {row["path"]} is also in line {seen[image]}')
        seen[image] = line
        sample = Sample(image, numbers[str(row['identity'])], int(camera), row['modality'])
        splits.setdefault(row['split'], []).append(sample)
    for part in ('train', 'val'):
        both = {s.identity for s in splits.get(part, ())} & {s.identity for s in splits.get('test', ())}
        if both:
            named = sorted(name for name, number in numbers.items() if number in both)
            raise VireidError(
                f'manifest {path}: {len(both)} identities are in {part} and in test: {", ".join(named[:5])}',
                todo='keep each person in one split',
            )
    return splits
