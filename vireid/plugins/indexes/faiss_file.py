"""A FAISS index in a file: kept up to date, checked when it is read, searched with filters."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vireid.boundary.paths import inside
from vireid.boundary.reading import open_regular, parse_json, reads
from vireid.boundary.writing import open_whole
from vireid.errors import Mismatch, MissingPackage, VireidError, WriteFailed
from vireid.plugins.indexes.exact import Exact

FILE = 'faiss.index'
NOTE = 512  # bytes at the end of the file that say how it was built, with the digest of the bytes before
BLOCK = 16 * 2**20  # numbers that are converted at a time
FEW = 100_000  # with at most this many images to choose from, an exact search takes a fraction of a second


class FaissFile:
    """What the FAISS indexes have in common.

    The index holds the embeddings as float16. Its candidates are scored from the file of embeddings, so that the
    similarities are those of `Exact`. If it finds too few images that a filter allows, `Exact` searches.

    Args:
        folder: the folder of the index.
        length: length D of the embeddings.
        arguments: arguments of the component, which the file records.
    """

    rebuild_after: ClassVar[float]  # changed images per image that the index was built from

    def __init__(self, folder: Path, length: int, arguments: dict[str, Any]) -> None:
        self._faiss = _import_faiss()
        self.path, self.length, self.built = folder / FILE, length, {**arguments, 'type': type(self).__name__}
        self._exact = Exact(folder, length)
        self._read: tuple[Any, Any] | None = None  # the state of the file and its index
        self._lock = threading.Lock()

    def build(self, vectors: np.ndarray, live: np.ndarray) -> Any:
        """Returns a trained index without images."""
        raise NotImplementedError

    def drop(self, index: Any, rows: np.ndarray) -> None:
        """Removes the images with these numbers, if there are any."""
        raise NotImplementedError

    def parameters(self, top: int, selector: Any, times: float) -> Any:
        """Returns the parameters of a search that considers `times` as many images as one without a filter."""
        raise NotImplementedError

    def update(
        self, vectors: np.ndarray, live: np.ndarray, changed: Sequence[Any], removed: np.ndarray,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:  # fmt: skip
        """Adds and removes images; builds the index if there is none, or most images changed.

        Raises:
            VireidError: if the file cannot be written.
        """
        new = np.array([entry.row for entry in changed], dtype=np.int64)
        try:
            index, note = read_index(self.path, self._faiss, self.length)
            whole = note['built'] == self.built
        except VireidError:  # missing or damaged
            whole = False
        if whole and not len(new) and not len(removed):
            return
        changes = note['changes'] + len(new) + len(removed) if whole else 0
        if not whole or changes > self.rebuild_after * note['images']:
            on_progress(0, len(live))  # training the index can take minutes
            index, note, new = self.build(vectors, live), {'images': len(live), 'built': self.built}, live
            changes = 0
        else:
            self.drop(index, np.concatenate([new, removed]))
        done = 0
        for rows, part in self.parts(vectors, new):
            index.add_with_ids(part, rows)
            done += len(rows)
            on_progress(done, len(new))
        self._write(index, {**note, 'changes': changes, 'length': self.length})

    def search(
        self, vectors: np.ndarray, queries: np.ndarray, top: int, rows: np.ndarray | None, where: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the (Q, k) similarities and numbers of k = min(top, images) similar images, best first.

        Raises:
            VireidError: if the file is damaged, or the index of other images.
        """
        total = len(vectors) if rows is None else len(rows)
        top = min(top, total)
        if rows is not None and total <= FEW:
            return self._exact.search(vectors, queries, top, rows, where)
        selector, times = None, 1.0
        if rows is not None:
            times = len(vectors) / total  # most images that the index considers are not allowed
            allowed = np.zeros(len(vectors), dtype=bool)
            allowed[rows] = True
            bits = np.packbits(allowed, bitorder='little')
            selector = self._faiss.IDSelectorBitmap(bits)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        _, numbers = self._index().search(queries, top, params=self.parameters(top, selector, times))
        if (numbers >= len(vectors)).any():
            raise Mismatch(f'{self.path} belongs to other images', todo='update it: vireid index')
        scores = np.full(numbers.shape, -np.inf, dtype=np.float32)
        for query, own, best in zip(queries, numbers, scores, strict=True):
            known = own >= 0
            best[known] = vectors[own[known]].astype(np.float32) @ query
        order = np.lexsort((numbers, -scores), axis=1)
        scores, numbers = np.take_along_axis(scores, order, axis=1), np.take_along_axis(numbers, order, axis=1)
        short = np.flatnonzero((numbers < 0).any(axis=1))
        if len(short):
            scores[short], numbers[short] = self._exact.search(vectors, queries[short], top, rows, where)
        return scores, numbers

    def parts(self, vectors: np.ndarray, rows: np.ndarray) -> Any:
        """Yields numbers and their embeddings as float32, part by part."""
        step = max(1, BLOCK // self.length)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            yield part, vectors[part].astype(np.float32)

    def _index(self) -> Any:
        """Returns the index, read again if another process updated it."""
        with self._lock:
            try:
                status = os.stat(self.path)
                state: Any = (status.st_ino, status.st_size, status.st_mtime_ns)
            except OSError:
                state = None  # reading the file reports the error
            if self._read is None or self._read[0] != state:
                index, note = read_index(self.path, self._faiss, self.length)
                if note['built']['type'] != self.built['type']:
                    raise Mismatch(f'{self.path} is of the type {note["built"]["type"]}', todo='repeat vireid index')
                self._read = state, index
            return self._read[1]

    def _write(self, index: Any, note: dict[str, Any]) -> None:
        digest = hashlib.sha256()
        try:
            with open_whole(self.path, sync=True) as file:

                def write(content: Any) -> int:
                    digest.update(content)
                    return file.write(content)

                self._faiss.write_index(index, self._faiss.PyCallbackIOWriter(write))
                file.write(json.dumps({**note, 'sha256': digest.hexdigest()}).encode().ljust(NOTE))
        except OSError as error:
            raise WriteFailed(
                f'{self.path} cannot be written: {error}', todo='free some space, then repeat the command'
            ) from error


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingPackage('FAISS is not installed', todo='pip install "vireid[faiss]"') from error
    return faiss


@reads('a FAISS index', FILE, todo='repeat vireid index, which rebuilds it')
def read_index(path: Path, faiss: Any = None, length: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Returns a FAISS index and its note: `images` that it was built from, `changes` since, and how it was `built`.

    FAISS parses the file only if it has the recorded digest, since damage could crash it.

    Args:
        path: the file.
        faiss: the module; None imports it.
        length: length D that the embeddings must have; None accepts any.
    """
    faiss = faiss or _import_faiss()
    with open_regular(inside(path.parent, path.name)) as file:
        size = file.seek(0, 2) - NOTE
        if size < 0:
            raise ValueError('it is truncated')
        file.seek(size)
        note = parse_json(file.read(NOTE).rstrip())
        file.seek(0)
        digest, left = hashlib.sha256(), size
        while left:
            part = file.read(min(left, 2**22))
            digest.update(part)
            left -= len(part)
        if digest.hexdigest() != note['sha256']:
            raise ValueError('its content does not have the recorded digest')
        file.seek(0)
        index = faiss.read_index(faiss.PyCallbackIOReader(file.read))
    right = all(isinstance(note[name], int) for name in ('images', 'changes', 'length'))
    if not right or not isinstance(note['built']['type'], str) or index.d != (length or index.d):
        raise ValueError(f'it has embeddings of length {index.d}')
    return index, note
