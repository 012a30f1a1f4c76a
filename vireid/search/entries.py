"""The images of an index and what is known about them, in an SQLite file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary.reading import reads
from vireid.core.types import MODALITIES, Modality
from vireid.errors import DamagedFile, MissingFile, UnsupportedFile, WriteFailed, WrongValue

FORMAT = 1
COLUMNS = ('row', 'path', 'modality', 'guessed', 'camera', 'time', 'time_from', 'size', 'changed', 'digest')
_SCHEMA = (
    'CREATE TABLE images (row INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, modality TEXT NOT NULL, '
    'guessed INTEGER NOT NULL, camera TEXT NOT NULL, time TEXT NOT NULL, time_from TEXT NOT NULL, '
    'size INTEGER NOT NULL, changed INTEGER NOT NULL, digest BLOB NOT NULL, pending INTEGER NOT NULL)',
    'CREATE TABLE removed (row INTEGER PRIMARY KEY)',
    'CREATE INDEX by_camera ON images (camera, time)',
    'CREATE INDEX by_time ON images (time)',
)


@dataclass(frozen=True)
class Entry:
    """An image of an index.

    Attributes:
        row: its number, the row of its embedding.
        path: its path relative to the root of the gallery, with `/`.
        modality: its modality.
        guessed: whether the modality was guessed from the pixels.
        camera: its camera; empty if unknown.
        time: when it was taken, as `2026-11-29 22:41:05`; empty if unknown.
        time_from: the source of the time: `name`, `EXIF`, `file time`, `table`, or empty.
        size: bytes of the file.
        changed: modification time of the file in nanoseconds.
        digest: `content_digest` of the file.
    """

    row: int
    path: str
    modality: Modality
    guessed: bool
    camera: str
    time: str
    time_from: str
    size: int
    changed: int
    digest: bytes


@dataclass(frozen=True)
class Where:
    """Which images to search.

    Attributes:
        cameras: only these cameras; empty for all.
        after: not before this time.
        before: not after this time.
        modality: only this modality.

    Raises:
        WrongValue: if the cameras are not names, or a time is not a datetime.
    """

    cameras: tuple[str, ...] = ()
    after: datetime | None = None
    before: datetime | None = None
    modality: Modality | None = None

    def __post_init__(self) -> None:
        if isinstance(self.cameras, str) or not all(isinstance(camera, str) for camera in self.cameras):
            raise WrongValue(f'cameras is {self.cameras!r}', allowed="a tuple of names, such as ('1', '4')")
        for name, moment in {'after': self.after, 'before': self.before}.items():
            if not isinstance(moment, datetime | None):
                raise WrongValue(f'{name} is {moment!r}', allowed='a datetime, such as datetime(2026, 1, 31, 22, 41)')

    def __bool__(self) -> bool:
        return bool(self.cameras or self.after or self.before or self.modality)

    def sql(self) -> tuple[str, list[str]]:
        """Returns the condition of an SQL query and its parameters; images with an unknown time never match a time."""
        parts, values = ['1'], list[str]()
        if self.cameras:
            parts.append(f'camera IN ({", ".join("?" * len(self.cameras))})')
            values += self.cameras
        if self.after or self.before:
            parts.append("time != ''")
        if self.after:
            parts.append('time >= ?')
            values.append(self.after.isoformat(' '))
        if self.before:
            parts.append('time <= ?')
            values.append(self.before.isoformat(' '))
        if self.modality:
            parts.append('modality = ?')
            values.append(self.modality)
        return ' AND '.join(parts), values


class Entries:
    """The table of images.

    Args:
        path: the file; it must exist unless `write` is true.
        write: open it for changes.

    Raises:
        VireidError: if it is missing, damaged, or was written by another program.
    """

    def __init__(self, path: Path, write: bool = False) -> None:
        self.path, self.write = path, write
        if write and not path.exists():
            with closing(sqlite3.connect(path)) as new, new:
                for statement in _SCHEMA:
                    new.execute(statement)
                new.execute(f'PRAGMA user_version = {FORMAT}')
        _require_own(path)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Opens the file; each use has its own connection, since a server answers from several threads."""
        mode = 'rw' if self.write else 'ro'
        try:
            with closing(_connect(self.path, mode)) as opened:
                yield opened
        except sqlite3.Error as error:
            kind = WriteFailed if self.write else DamagedFile
            raise kind(
                f'{self.path} cannot be {"changed" if self.write else "read"}: {error}',
                todo='repeat the command; if it fails again, delete the folder of the index and build it anew',
            ) from error

    def all(self, condition: str = '1', values: Sequence[Any] = ()) -> list[Entry]:
        """Returns the images that match a condition, by number."""
        with self._open() as db:
            lines = db.execute(f'SELECT {", ".join(COLUMNS)} FROM images WHERE {condition} ORDER BY row', values)  # noqa: S608, literals
            return [_entry(line) for line in lines]

    def of(self, rows: Iterable[int]) -> dict[int, Entry]:
        """Returns the images with these numbers."""
        numbers = [int(row) for row in rows if 0 <= row < 2**63]  # SQLite has no larger ones
        entries: dict[int, Entry] = {}
        for start in range(0, len(numbers), 500):
            part = numbers[start : start + 500]
            entries |= {entry.row: entry for entry in self.all(f'row IN ({", ".join("?" * len(part))})', part)}
        return entries

    def rows(self, where: Where) -> np.ndarray:
        """Returns the sorted (N,) int64 numbers of the images that match a filter."""
        condition, values = where.sql()
        with self._open() as db:
            lines = db.execute(f'SELECT row FROM images WHERE {condition} ORDER BY row', values)  # noqa: S608, literals
            return np.fromiter((line[0] for line in lines), dtype=np.int64)

    def __len__(self) -> int:
        with self._open() as db:
            return int(db.execute('SELECT COUNT(*) FROM images').fetchone()[0])

    def last(self) -> int:
        """Returns the largest number in use, -1 if there is none."""
        with self._open() as db:
            first, last = db.execute('SELECT MIN(row), MAX(row) FROM images').fetchone()
            if first is not None and first < 0:
                raise sqlite3.DatabaseError(f'row {first}')
            return -1 if last is None else int(last)

    def counts(self, column: str) -> dict[str, int]:
        """Returns the number of images by camera, modality or `time_from`."""
        if column not in COLUMNS:
            raise ValueError(column)
        with self._open() as db:
            counts = dict(db.execute(f'SELECT {column}, COUNT(*) FROM images GROUP BY 1 ORDER BY 1'))  # noqa: S608, checked
            if not all(isinstance(name, str) for name in counts):
                raise sqlite3.DatabaseError(f'an image has an invalid {column}')
            return counts

    def span(self) -> tuple[datetime, datetime] | None:
        """Returns the first and the last time, None if no time is known."""
        with self._open() as db:
            first, last = db.execute("SELECT MIN(time), MAX(time) FROM images WHERE time != ''").fetchone()
            try:
                return (_time(first), _time(last)) if first else None
            except (TypeError, ValueError) as error:
                raise sqlite3.DatabaseError('an image has an invalid time') from error

    def put(self, entries: Sequence[Entry]) -> None:
        """Adds or replaces images in one transaction; they are pending until `settle`."""
        with self._open() as db, db:
            db.executemany('DELETE FROM images WHERE path = ?', [(os.fsencode(entry.path),) for entry in entries])
            db.executemany('DELETE FROM removed WHERE row = ?', [(entry.row,) for entry in entries])
            marks = ', '.join('?' * (len(COLUMNS) + 1))
            values = [
                (*(os.fsencode(e.path) if name == 'path' else getattr(e, name) for name in COLUMNS), 1) for e in entries
            ]
            db.executemany(f'INSERT INTO images ({", ".join(COLUMNS)}, pending) VALUES ({marks})', values)  # noqa: S608, literals

    def remove(self, rows: Sequence[int]) -> None:
        """Removes images in one transaction."""
        with self._open() as db, db:
            db.executemany('DELETE FROM images WHERE row = ?', [(row,) for row in rows])
            db.executemany('INSERT OR IGNORE INTO removed VALUES (?)', [(row,) for row in rows])

    def pending(self) -> tuple[list[Entry], np.ndarray]:
        """Returns the images that the index has not added yet, and the numbers that it still has to drop."""
        with self._open() as db:
            gone = np.fromiter((line[0] for line in db.execute('SELECT row FROM removed ORDER BY row')), dtype=np.int64)
        return self.all('pending = 1'), gone

    def settle(self) -> None:
        """Records that the index has applied all changes."""
        with self._open() as db, db:
            db.execute('UPDATE images SET pending = 0')
            db.execute('DELETE FROM removed')


def time_of(entry: Entry) -> datetime | None:
    """Returns when an image was taken, None if unknown."""
    return _time(entry.time) if entry.time else None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _entry(line: Sequence[Any]) -> Entry:
    """Checks the types of a row: SQLite stores any type in any column."""
    row, path, modality, guessed, camera, time, time_from, size, changed, digest = line
    right = all(isinstance(value, str) for value in (modality, camera, time, time_from))
    right = right and all(isinstance(value, bytes) for value in (path, digest))
    if (
        not right
        or not all(isinstance(value, int) for value in (row, guessed, size, changed))
        or row < 0
        or b'\0' in path
        or modality not in MODALITIES
    ):
        raise sqlite3.DatabaseError(f'row {str(row)[:20]} has invalid values')
    if time:
        try:
            _time(time)
        except ValueError as error:
            raise sqlite3.DatabaseError(f'row {row} has the time {time[:40]!r}') from error
    return Entry(row, os.fsdecode(path), modality, bool(guessed), camera, time, time_from, size, changed, digest)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    opened = sqlite3.connect(f'{path.absolute().as_uri()}?mode={mode}', uri=True, timeout=30)
    opened.execute('PRAGMA trusted_schema = OFF')
    opened.execute('PRAGMA cell_size_check = ON')
    return opened


@reads('the table of an index', 'images.sqlite', todo='delete the folder of the index and build it anew')
def _require_own(path: Path) -> None:
    """Raises unless a file has exactly the tables of this module: a foreign schema could run its own statements."""
    if not path.is_file():
        raise MissingFile(
            f'{path} does not exist', todo='build the index: vireid index GALLERY -o INDEX --checkpoint C'
        )
    with closing(_connect(path, 'ro')) as db:
        version = db.execute('PRAGMA user_version').fetchone()[0]
        schema = [line[0] for line in db.execute('SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid')]
    if version > FORMAT:
        raise UnsupportedFile(f'{path} was written by a newer vireid (format {version})', todo='upgrade vireid')
    if schema != list(_SCHEMA):
        raise ValueError('it has other tables')
