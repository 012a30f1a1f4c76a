"""The answers about a folder of crops: an append-only file, one line each, on disk before the next question."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from vireid.boundary.paths import inside
from vireid.boundary.reading import parse_json, read_lines, reads
from vireid.boundary.writing import open_to_append
from vireid.errors import WriteFailed

FILE = 'answers.jsonl'
MAX_BYTES, MAX_LINE_BYTES, MAX_LINES = 256 * 2**20, 8 * 2**20, 1_000_000


Kind = Literal['people', 'name', 'skip', 'undo']


class Answer(TypedDict):
    """An answer; tracks are given by name, so that it stays valid whatever groups are proposed later.

    Attributes:
        time: when it was given.
        kind: `people`: the first tracks, and those of `same`, show one person, and those of each list of `different`
            show others; `name`: the tracks show the person `name`; `skip`: the question was skipped; `undo`: takes back
            the last answer that was not taken back before.
        tracks: the tracks that were asked about.
        same: further tracks of the same person.
        different: lists of tracks of other people.
        name: the name of the person.
        despite: whether it was confirmed although it contradicts what was known.
    """

    __pydantic_config__ = ConfigDict(strict=True, extra='forbid')  # type: ignore[misc]
    time: str
    kind: Kind
    tracks: list[str]
    same: list[list[str]]
    different: list[list[str]]
    name: str
    despite: bool


_ANSWER = TypeAdapter[Answer](Answer)


def answer(
    kind: Literal['people', 'name', 'skip', 'undo'],
    tracks: Sequence[str] = (),
    same: Sequence[Sequence[str]] = (),
    different: Sequence[Sequence[str]] = (),
    name: str = '',
    despite: bool = False,
) -> Answer:
    """Returns an answer that is given now; the arguments are the fields of `Answer`."""
    now = datetime.now().isoformat(' ', 'seconds')
    parts = {'same': [list(part) for part in same], 'different': [list(part) for part in different]}
    given = {'time': now, 'kind': kind, 'tracks': list(tracks), **parts, 'name': name, 'despite': despite}
    return _ANSWER.validate_python(given)


class Journal:
    """The answers in a folder.

    Attributes:
        path: the file.
        answers: all answers, in the order in which they were given.

    Raises:
        VireidError: if the file is damaged. A last line without an end is removed: a crash interrupted it before it was
            confirmed.
    """

    def __init__(self, folder: Path) -> None:
        self.path = inside(folder, FILE)
        self.answers: list[Answer] = []
        if self.path.exists():
            self.answers, sizes = _read(self.path)
            if sum(sizes) < self.path.stat().st_size:
                os.truncate(self.path, sum(sizes))

    def append(self, given: Answer) -> None:
        """Saves an answer; returns once it is on disk.

        Raises:
            WriteFailed: if it cannot be saved; the file is then unchanged.
        """
        line = json.dumps(given, ensure_ascii=True)
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with open_to_append(self.path) as file:
                file.write(f'{line}\n')
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if self.path.exists():
                os.truncate(self.path, size)
            raise WriteFailed(
                f'the answer cannot be saved: {error.strerror}', todo=f'check the disk and {self.path}'
            ) from error
        self.answers.append(given)

    def held(self) -> list[tuple[int, Answer]]:
        """Returns the answers that were not undone, with their numbers from 1."""
        kept: list[tuple[int, Answer]] = []
        for number, given in enumerate(self.answers, 1):
            if given['kind'] != 'undo':
                kept.append((number, given))
            elif kept:
                kept.pop()
        return kept


@reads('a journal of answers', FILE, todo='correct or remove that line; the others remain valid')
def _read(path: Path) -> tuple[list[Answer], list[int]]:
    """Returns the answers of all whole lines, and the number of bytes of each of these lines."""
    answers: list[Answer] = []
    sizes: list[int] = []
    for number, line in enumerate(read_lines(path, MAX_BYTES, MAX_LINE_BYTES, MAX_LINES), 1):
        if not line.endswith(b'\n'):
            break
        sizes.append(len(line))
        try:
            parsed: Any = parse_json(line.decode('utf-8'))
            answers.append(_ANSWER.validate_python(parsed))
        except ValueError as error:
            raise ValueError(f'line {number}: {str(error).splitlines()[0][:200]}') from error
    return answers, sizes
