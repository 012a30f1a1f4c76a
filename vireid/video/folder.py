"""The folder of crops: images, a table of them, and how far each video was read, all committed together."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary.paths import inside, is_name
from vireid.boundary.reading import content_digest, read_bytes, read_json, reads
from vireid.boundary.showing import csv_cell
from vireid.boundary.writing import open_to_append, remove_parts, write_whole
from vireid.core.types import MODALITIES
from vireid.errors import AlreadyExists, Changed, DamagedFile, WriteFailed
from vireid.runtime.lock import exclusive
from vireid.video.tracks import Track

TABLE, STATE = 'crops.csv', '.crops.json'
FORMAT = 1
MAX_BYTES = 2**30  # bytes of the table
MAX_LENGTH = 60  # characters of the name of a video
CROP = re.compile(r'\d{8}-\d{6}_f\d{7,}\.jpg', re.ASCII)


@dataclass(frozen=True)
class CropRow:
    """A crop, as in the table.

    Attributes:
        path: relative to the folder, with `/`.
        modality: `visible` or `infrared`.
        camera: number of its camera.
        time: when it was taken, ISO 8601 with milliseconds.
        track: its track, unique in the folder.
        video: file name of its video.
        frame: number of its frame.
    """

    path: str
    modality: str
    camera: int
    time: str
    track: str
    video: str
    frame: int


COLUMNS = tuple(column.name for column in fields(CropRow))


@dataclass
class Record:
    """How far a video was read.

    Attributes:
        name: its name in paths and tracks.
        path: where it was.
        digest: identifies its content.
        settings: what determines its crops.
        start: time of its first frame, ISO 8601.
        start_source: the source of that time.
        done: whether it was read to the end.
        position: number of frames that were read.
        seconds: time of the last of them.
        ended_early: whether the file ended before its declared end.
        size: width and height of the last examined frame.
        counts: numbers of frames, boxes and crops.
        tracks: people who were in the last frames.
        count: number of tracks so far.
        seen: thumbnail of the last sampled frame, to see motion.
    """

    name: str
    path: str
    digest: str
    settings: dict[str, Any]
    start: str
    start_source: str
    done: bool = False
    position: int = 0
    seconds: float = 0.0
    ended_early: bool = False
    size: tuple[int, int] | None = None
    counts: dict[str, int] = field(default_factory=dict)
    tracks: list[Track] = field(default_factory=list)
    count: int = 0
    seen: np.ndarray | None = None

    @property
    def place(self) -> str:
        """The folder of its crops."""
        return f'{self.settings["modality"]}/cam{self.settings["camera"]}/{self.name}'


class Folder:
    """A folder of crops that this process writes to; see `open_folder`.

    Attributes:
        root: its path.
        records: the videos that were begun.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records, self._written, self._digest = _load(root)
        if self._written:
            self._undo()
        else:
            self._write_state()  # from here on, the table is ours
            header = (','.join(COLUMNS) + '\n').encode()
            write_whole(root / TABLE, header)
            self._digest.update(header)
            self._written = len(header)
            self._write_state()

    def find(self, video: Path, settings: dict[str, Any], start: datetime | None) -> Record | None:
        """Returns the record of a video; None if it was not begun.

        Args:
            video: the file.
            settings: what determines its crops.
            start: time of its first frame, if the user gave it.

        Raises:
            Changed: if it was begun with other settings, or the file has changed since.
        """
        digest, path = _digest(video), str(video.absolute())
        for record in self.records:
            if record.digest == digest:
                asked = settings | ({} if start is None else {'start': start.isoformat()})
                known = record.settings | {'start': record.start}
                if different := [name for name, value in asked.items() if known.get(name) != value]:
                    name = different[0]
                    raise Changed(
                        f'{video} was cropped into {self.root} with {name} {known.get(name)}, not {asked[name]}',
                        todo='repeat the command with the same flags, or choose another folder with -o',
                    )
                return record
            if record.path == path:
                raise Changed(
                    f'{video} has changed since it was cropped into {self.root}',
                    todo='choose another folder with -o, or give the new video another name',
                )
        return None

    def begin(self, video: Path, settings: dict[str, Any], start: datetime, source: str) -> Record:
        """Returns the record of a new video, under a name that no other video of its camera has.

        It is in the folder from its first commit on.

        Args:
            video: the file.
            settings: what determines its crops.
            start: time of its first frame.
            source: what says so.
        """
        stem = re.sub(r'[^\w.()+ -]', '_', video.stem)[:MAX_LENGTH].strip(' .~')
        stem = stem if is_name(stem) else f'video_{stem}'[:MAX_LENGTH].rstrip(' .')
        taken = {r.name.casefold() for r in self.records if r.settings['camera'] == settings['camera']}
        name, number = stem, 2
        while name.casefold() in taken:
            name, number = f'{stem}-{number}', number + 1
        return Record(name, str(video.absolute()), _digest(video), settings, start.isoformat(), source)

    def commit(self, record: Record, rows: Sequence[CropRow]) -> None:
        """Writes the rows of crops that are on disk, and the record: after a kill, either both exist or neither."""
        if not any(record is known for known in self.records):
            self.records.append(record)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        writer.writerows([csv_cell(str(cell)) for cell in astuple(row)] for row in rows)
        self._append(text.getvalue())
        self._write_state()

    def _append(self, text: str) -> None:
        content = text.encode('utf-8', 'backslashreplace')
        with open_to_append(self.root / TABLE) as file:
            file.write(content.decode())
        self._digest.update(content)
        self._written += len(content)

    def _write_state(self) -> None:
        records = [{**vars(record), **_packed(record)} for record in self.records]
        about = {'format': FORMAT, 'bytes': self._written, 'digest': self._digest.hexdigest(), 'videos': records}
        write_whole(self.root / STATE, json.dumps(about) + '\n')

    def _undo(self) -> None:
        """Removes what was written after the last commit: rows, and crops of unfinished videos without a row."""
        table = read_bytes(self.root / TABLE, MAX_BYTES)
        if len(table) > self._written:
            write_whole(self.root / TABLE, table[: self._written])
        unfinished = [record for record in self.records if not record.done]
        if not unfinished:
            return
        reader = csv.DictReader(io.StringIO(table[: self._written].decode('utf-8', 'replace')))
        known = {row['path'] for row in reader}
        for record in unfinished:
            place = inside(self.root, record.place)
            for folder, _, names in os.walk(place):  # follows no links
                remove_parts(Path(folder))
                for name in names:
                    crop = Path(folder, name)
                    if CROP.fullmatch(name) and crop.relative_to(self.root).as_posix() not in known:
                        crop.unlink()
                with suppress(OSError):  # it has crops
                    Path(folder).rmdir()


@contextmanager
def open_folder(root: Path) -> Iterator[Folder]:
    """Opens a folder of crops, and creates it if needed; no other process can write to it inside the block.

    Raises:
        VireidError: if it cannot be created, another process writes to it, or its table was changed.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteFailed(
            f'{root} cannot be created: {error.strerror}', todo='choose another folder with -o'
        ) from error
    with exclusive(root):
        remove_parts(root)
        yield Folder(root)


def _digest(video: Path) -> str:
    try:
        return content_digest(video).hex()
    except OSError as error:
        raise DamagedFile(f'{video} cannot be read: {error.strerror}', allowed='video files') from error


def _load(root: Path) -> tuple[list[Record], int, Any]:
    """Returns the records, the committed length of the table, and the hash of that much of it."""
    digest, todo = hashlib.sha256(), 'choose another folder with -o, or restore this one'
    try:
        table = read_bytes(root / TABLE, MAX_BYTES) if (root / TABLE).exists() else b''
    except (OSError, ValueError) as error:
        raise DamagedFile(f'{root / TABLE} cannot be read: {error}', todo=todo) from error
    if not (root / STATE).exists():
        if table:
            given = f'{root} has a {TABLE} that `vireid crops` did not write'
            raise AlreadyExists(given, todo='choose another folder with -o, or move that table')
        return [], 0, digest
    about = read_state(root / STATE)
    digest.update(table[: about['bytes']])
    if digest.hexdigest() != about['digest']:
        raise Changed(f'{root / TABLE} was changed by another program', todo=todo)
    return about['videos'], about['bytes'], digest


@reads('the state of a folder of crops', STATE, todo='choose another folder with -o, or restore this one')
def read_state(path: Path) -> dict[str, Any]:
    """Reads how far videos were read.

    Returns:
        `bytes` and `digest` of the table, and the records `videos`.

    Raises:
        VireidError: if it is damaged.
    """
    about = read_json(path)
    if about['format'] != FORMAT:
        raise ValueError(f'its format is {about["format"]!r}, not {FORMAT}')
    if type(about['bytes']) is not int or not 0 <= about['bytes'] <= MAX_BYTES or type(about['digest']) is not str:
        raise ValueError('it does not say what the table contains')
    about['videos'] = [_unpacked(record) for record in about['videos']]
    return about


def _packed(record: Record) -> dict[str, Any]:
    """Returns the parts of a record that are arrays as JSON."""

    def pack(array: np.ndarray | None) -> Any:
        return None if array is None else [*array.shape, base64.b64encode(array.tobytes()).decode()]

    def packed(track: Track) -> dict[str, Any]:
        speed = None if track.speed is None else track.speed.tolist()
        kept = None if track.kept is None else [track.kept[0], pack(track.kept[1])]
        return {**vars(track), 'box': track.box.tolist(), 'speed': speed, 'kept': kept}

    return {'tracks': [packed(track) for track in record.tracks], 'seen': pack(record.seen)}


def _unpacked(content: dict[str, Any]) -> Record:
    """Returns a record from JSON.

    Raises:
        Exception: of any type, if it is not a record.
    """

    def unpack(packed: Any) -> np.ndarray | None:
        if packed is None:
            return None
        height, width, text = packed
        return np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8).reshape(height, width)

    def floats(values: Any) -> np.ndarray:
        array = np.array(values, dtype=np.float64)
        if array.shape != (4,) or not np.isfinite(array).all():
            raise ValueError('a box is damaged')
        return array

    record = Record(**content)
    for name, kind in (('name', str), ('path', str), ('digest', str), ('settings', dict), ('counts', dict)):
        if type(getattr(record, name)) is not kind:
            raise ValueError(f'{name} is damaged')
    for name, number in {'position': record.position, 'count': record.count, **record.counts}.items():
        if type(number) is not int or not 0 <= number < 2**53:
            raise ValueError(f'{name} is {number!r}')
    settings = record.settings
    if not is_name(record.name) or settings['modality'] not in MODALITIES or type(settings['camera']) is not int:
        raise ValueError(f'the name {record.name!r}, the modality or the camera is invalid')
    datetime.fromisoformat(record.start)
    record.seconds = float(record.seconds)
    record.size = None if record.size is None else (int(record.size[0]), int(record.size[1]))
    record.seen = unpack(record.seen)
    record.tracks = [_track(track, floats, unpack) for track in content['tracks']]
    return record


def _track(
    content: dict[str, Any], floats: Callable[[Any], np.ndarray], unpack: Callable[[Any], np.ndarray | None]
) -> Track:
    kept = None
    if content['kept'] is not None:
        small = unpack(content['kept'][1])
        if small is None:
            raise ValueError('a thumbnail is missing')
        kept = float(content['kept'][0]), small
    speed = None if content['speed'] is None else floats(content['speed'])
    return Track(int(content['number']), floats(content['box']), float(content['seconds']), speed, kept)
