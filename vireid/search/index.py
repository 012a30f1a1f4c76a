"""An index: the images of a gallery, embedded by one checkpoint and searched with it."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary.open_flags import BINARY, NO_FOLLOW
from vireid.boundary.paths import inside
from vireid.boundary.reading import content_digest
from vireid.boundary.received import ADDRESS, texts
from vireid.boundary.showing import error_text
from vireid.core.types import Modality
from vireid.errors import (
    Changed,
    Conflict,
    DamagedFile,
    Mismatch,
    MissingFile,
    NoMatch,
    UnknownName,
    UnsafeFile,
    WrongValue,
    did_you_mean,
)
from vireid.interfaces import Index as Component
from vireid.plugin_manager.manager import create_manager
from vireid.search.about import REBUILD, read_about
from vireid.search.embedder import Embedder, load
from vireid.search.entries import Entries, Entry, Where, time_of

IMAGES, VECTORS, ZERO_SHOT = 'images.sqlite', 'embeddings.f16', 'zero_shot.pt'
MAX_SIMILARITY = 1.01  # of a cosine similarity of float16 embeddings


@dataclass(frozen=True)
class Hit:
    """An image returned by a search.

    Attributes:
        row: its number in the index.
        score: cosine similarity to the query, -1 to 1.
        path: its path relative to the root of the gallery, with `/`.
        camera: its camera; empty if unknown.
        time: when it was taken, in local time; None if unknown.
        time_from: the source of the time: `name`, `EXIF`, `file time`, `table`, or empty.
        modality: its modality.
    """

    row: int
    score: float
    path: str
    camera: str
    time: datetime | None
    time_from: str
    modality: Modality


class Index:
    """An index in a folder; see `Index.open`.

    Attributes:
        folder: its folder.
        about: `root`, `checkpoint`, `digest`, `label`, `length` D, `index` (its type and arguments), `options`.
        root: the folder of the gallery.
        entries: the table of images.

    Raises:
        VireidError: if the table of images is missing or damaged, or the file of embeddings is truncated.
    """

    def __init__(
        self,
        folder: Path,
        about: dict[str, Any],
        plugins: Sequence[Path] = (),
        checkpoint: Path | None = None,
        trust: bool = False,
    ) -> None:
        self.folder, self.about, self.root = folder, about, Path(about['root'])
        self.entries = Entries(inside(folder, IMAGES))
        self._plugins, self._checkpoint, self._trust = plugins, checkpoint, trust
        last, size = self.entries.last(), self.vectors_file.stat().st_size if self.vectors_file.is_file() else 0
        if size < 2 * about['length'] * (last + 1):
            raise DamagedFile(f'{self.vectors_file} is truncated', todo=f'{REBUILD}: {folder}')

    @classmethod
    def open(
        cls, folder: str | Path, plugins: Sequence[Path] = (), checkpoint: Path | None = None, trust: bool = False
    ) -> Index:
        """Opens an index for searching.

        Args:
            folder: the folder of the index.
            plugins: Python files with components of its model.
            checkpoint: the checkpoint that embedded it, if it has been moved.
            trust: contact the server that it names.

        Raises:
            VireidError: if it is missing, truncated or damaged.
        """
        return cls(Path(folder), read_about(Path(folder)), plugins, checkpoint, trust)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def vectors_file(self) -> Path:
        """The file of embeddings: float16, row by row, without a header."""
        return inside(self.folder, VECTORS)

    @property
    def vectors(self) -> np.ndarray:
        """The (N, D) float16 embeddings as a read-only map of the file."""
        length = self.about['length']
        rows = self.vectors_file.stat().st_size // (2 * length)
        return np.memmap(self.vectors_file, dtype=np.float16, mode='r', shape=(rows, length))

    @functools.cached_property
    def embedder(self) -> Embedder:
        """The model that embedded the gallery, loaded on first use.

        Raises:
            VireidError: if the checkpoint is missing, or is not the one that embedded the gallery.
        """
        checkpoint = self.about['checkpoint']
        path = self._checkpoint or (inside(self.folder, checkpoint) if checkpoint == ZERO_SHOT else Path(checkpoint))
        if not path.is_file():
            given = f'the checkpoint of {self.folder}, {path}, does not exist'
            raise MissingFile(given, todo='give its path: --checkpoint FILE')
        embedder = load(path, self._plugins, self.about['options'])
        if embedder.digest() != self.about['digest']:
            raise Mismatch(
                f'{path} is not the checkpoint that {self.folder} was built with; their embeddings cannot be compared',
                todo='give the path of that checkpoint (--checkpoint FILE), or build another index',
            )
        return embedder

    @functools.cached_property
    def searcher(self) -> Any:
        """The component that searches.

        Raises:
            VireidError: if its type is not installed, an argument is invalid, or it names a server without consent.
        """
        return build_searcher(self.folder, self.about, self._plugins, self._trust)

    def load(self) -> None:
        """Loads what a search needs, so that a missing checkpoint or package is reported at once.

        Raises:
            VireidError: if one is missing.
        """
        _ = self.embedder, self.searcher

    def search(self, queries: np.ndarray, top: int = 20, where: Where | None = None) -> list[list[Hit]]:
        """Finds the images that are most similar to each query.

        Args:
            queries: (Q, D) float32 embeddings of norm 1.
            top: number of images, at least 1.
            where: which images to search; None for all.

        Returns:
            For each query, its hits, the most similar first.

        Raises:
            VireidError: if `top`, the length of the queries, or a filter is wrong.
        """
        where = where or Where()
        if top < 1:
            raise WrongValue(f'top is {top}', allowed='at least 1')
        if queries.ndim != 2 or queries.shape[1] != self.about['length']:
            raise Mismatch(
                f'queries of shape {queries.shape}',
                allowed=f'(Q, {self.about["length"]}), as from index.embedder.embed',
            )
        vectors = self.vectors
        rows = self.entries.rows(where) if where or len(self) != len(vectors) else None
        if rows is not None and not len(rows):
            self.require_known(where)
            return [[] for _ in queries]
        scores, numbers = self.searcher.search(vectors, queries, top, rows, where)
        if not (scores[numbers >= 0] < MAX_SIMILARITY).all():  # nor NaN
            raise DamagedFile(f'{self.vectors_file} is damaged: its embeddings do not have norm 1', todo=REBUILD)
        entries = self.entries.of(np.unique(numbers[numbers >= 0]))
        return [
            [_hit(entries[row], score) for row, score in zip(own, each, strict=True) if row in entries]
            for own, each in zip(numbers.tolist(), scores.tolist(), strict=True)
        ]

    def vector(self, row: int) -> np.ndarray:
        """Returns the (D,) float32 embedding of an image, to search with it.

        Raises:
            UnknownName: if there is no such image.
        """
        self._entry(row)
        vector = np.array(self.vectors[row], dtype=np.float32)
        return vector / max(float(np.linalg.norm(vector)), 1e-12)

    def image(self, row: int) -> np.ndarray:
        """Returns an image as (H, W, 3) uint8.

        Only a file with the recorded content is shown, so that an index from someone else cannot show other files.

        Raises:
            VireidError: if there is no such image, or its file is missing, changed or unreadable.
        """
        entry = self._entry(row)
        path = self.root / entry.path
        try:
            same = content_digest(path) == entry.digest
        except (OSError, ValueError) as error:  # of a null character
            raise DamagedFile(f'{entry.path} cannot be read: {error_text(error)}', todo='update the index') from error
        if not same:
            raise Changed(f'{entry.path} changed since it was indexed', todo='update the index')
        return self.embedder.pixels(path)

    def cameras(self) -> list[str]:
        """Returns the known cameras, numbers first."""
        return sorted(filter(None, self.entries.counts('camera')), key=lambda c: (not c.isdecimal(), c.zfill(12)))

    def span(self) -> tuple[datetime, datetime] | None:
        """Returns the times of the first and the last image, None if no time is known."""
        return self.entries.span()

    def modalities(self) -> dict[str, int]:
        """Returns the number of images by modality."""
        return self.entries.counts('modality')

    def require_known(self, where: Where) -> None:
        """Raises if a filter can match nothing: an unknown camera or modality, or a time outside those of the index.

        Raises:
            VireidError: if so.
        """
        known = self.cameras()
        for camera in where.cameras:
            if camera not in known:
                raise UnknownName(
                    f'{self.folder} has no camera {camera!r}{did_you_mean(camera, known)}',
                    allowed=', '.join(known) or 'no filter by camera: the cameras of its images are unknown',
                )
        if where.modality and where.modality not in self.modalities():
            raise NoMatch(
                f'{self.folder} has no {where.modality} images', allowed=', '.join(self.modalities()) or 'no images'
            )
        if where.after and where.before and where.after > where.before:
            given = f'the time after, {where.after}, is later than the time before, {where.before}'
            raise Conflict(given, todo='swap them, or leave one out')
        if not where.after and not where.before:
            return
        span = self.span()
        if span is None:
            raise NoMatch(f'the times of the images in {self.folder} are unknown', allowed='no filter by time')
        if where.after and where.after > span[1]:
            raise NoMatch(f'{self.folder} has no image after {where.after}', allowed=f'{span[0]} to {span[1]}')
        if where.before and where.before < span[0]:
            raise NoMatch(f'{self.folder} has no image before {where.before}', allowed=f'{span[0]} to {span[1]}')

    def _entry(self, row: int) -> Entry:
        entry = self.entries.of([row]).get(row)
        if entry is None:
            raise UnknownName(f'{self.folder} has no image {row}')
        return entry


def build_searcher(folder: Path, about: Mapping[str, Any], plugins: Sequence[Path], trust: bool) -> Any:
    """Returns the component that searches an index.

    An index folder may come from someone else, so a component that reaches out needs consent.

    Args:
        folder: the folder of the index.
        about: its description.
        plugins: Python files with components.
        trust: contact the server that it names.

    Raises:
        VireidError: if its type is not installed, an argument is invalid, or it names a server without consent.
    """
    components, config = create_manager(plugins).components, about['index']
    if not trust:
        address = next((text for _, text in texts(config) if ADDRESS.match(text.strip())), None)
        if address or (
            isinstance(config.get('type'), str) and Component.reaches_out(components.get('indexes', config['type']))
        ):
            raise UnsafeFile(
                f'{folder} is searched on a server{f", {address}" if address else ""}, and vireid does not contact a '
                'server only because a file names it',
                todo='if you trust this index, add --trust-config (from Python: trust=True)',
            )
    return components.build('indexes', config, where='index', folder=folder, length=about['length'])


def _hit(entry: Entry, score: float) -> Hit:
    return Hit(entry.row, score, entry.path, entry.camera, time_of(entry), entry.time_from, entry.modality)


def append_vectors(path: Path, rows: Sequence[int], vectors: np.ndarray) -> None:
    """Writes (n, D) embeddings of norm 1 to their places in the file, and waits until the disk has them.

    Args:
        path: the file of embeddings, which is created if needed.
        rows: n numbers of images.
        vectors: (n, D) embeddings; the file has them as float16.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | NO_FOLLOW | BINARY, 0o666)
    with os.fdopen(handle, 'r+b', buffering=0) as file:
        for row, vector in zip(rows, vectors.astype(np.float16), strict=True):
            file.seek(row * vector.nbytes)
            file.write(vector.tobytes())
        os.fsync(file.fileno())
