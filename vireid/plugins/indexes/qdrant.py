"""Qdrant: hands the embeddings to a Qdrant server, or to Qdrant's local mode."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary.reading import reads
from vireid.errors import InUse, Mismatch, MissingPackage, NotReady, Unavailable, WrongValue

KEY = 'VIREID_QDRANT_KEY'
FOLDER, STORAGE = 'qdrant', 'storage.sqlite'
UPSERT, QUERIES, SCROLL = 256, 64, 10_000  # points, queries and numbers per request
_LOCAL = threading.Lock()  # Qdrant lets one user at a time open a local folder


class Qdrant:
    """Approximate search by Qdrant, whose server may have several machines and serve several programs.

    Needs `pip install 'vireid[qdrant]'`. Each image is a point: its number, its embedding, and a payload `modality`,
    `camera` and `time` (seconds since 1970 as if local time were UTC). Qdrant applies the filters. The similarities
    are computed from the file of embeddings, so they are those of `Exact`.

    The key of a server comes from the environment variable VIREID_QDRANT_KEY only.

    Args:
        folder: the folder of the index.
        length: length D of an embedding.
        url: address of a server, such as `http://localhost:6333`; without it, Qdrant's local mode keeps the points in
            the folder of the index and compares all of them, for trials with a few thousand images.
        collection: name of the collection; by default one that is derived from the folder.

    Raises:
        VireidError: if qdrant-client is not installed, or the address is invalid.
    """

    def __init__(self, folder: Path, length: int, url: str | None = None, collection: str | None = None) -> None:
        try:
            import qdrant_client
        except ImportError as error:
            raise MissingPackage('qdrant-client is not installed', todo="pip install 'vireid[qdrant]'") from error
        if url is not None and not url.startswith(('http://', 'https://')):
            raise WrongValue(f'url is {url!r}', allowed='an address such as http://localhost:6333')
        self._qdrant, self._models = qdrant_client, qdrant_client.models
        self.folder, self.length, self.url = folder, length, url
        own = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16] if url else 'images'
        self.collection = collection or f'vireid_{own}'

    def update(self, vectors: np.ndarray, live: np.ndarray, changed: Sequence[Any], removed: np.ndarray) -> None:
        """Sends the changes; repeating this has no effect.

        Raises:
            VireidError: if the server cannot be reached, or its collection is not that of this index.
        """
        models = self._models
        with self._client() as client:
            if not client.collection_exists(self.collection):
                params = models.VectorParams(
                    size=self.length, distance=models.Distance.DOT, datatype=models.Datatype.FLOAT16
                )
                client.create_collection(self.collection, vectors_config=params)
                fields = {'camera': 'keyword', 'modality': 'keyword', 'time': 'float'} if self.url else {}
                for name, kind in fields.items():
                    client.create_payload_index(self.collection, name, field_schema=models.PayloadSchemaType(kind))
            self._require_length(client)
            self._delete(client, removed)
            for start in range(0, len(changed), UPSERT):
                part = changed[start : start + UPSERT]
                rows = [int(entry.row) for entry in part]
                batch = models.Batch(
                    ids=rows, vectors=vectors[rows].astype(np.float32).tolist(), payloads=[_payload(e) for e in part]
                )
                client.upsert(self.collection, points=batch, wait=True)
            count = client.count(self.collection, exact=True).count
            if count != len(live):
                known = self._numbers(client)
                self._delete(client, np.setdiff1d(known, live))
                missing = len(np.setdiff1d(live, known))
                if missing:
                    raise Mismatch(
                        f'{self._place()} lacks {missing:,} images of {self.folder}',
                        todo='send all images to a new collection: vireid index ... --cfg-options '
                        'index.collection=NAME',
                    )

    def search(
        self, vectors: np.ndarray, queries: np.ndarray, top: int, rows: np.ndarray | None, where: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the (Q, k) similarities and numbers of the k = min(top, images) most similar images, -1 for none.

        Raises:
            VireidError: if the server cannot be reached, or does not have the images.
        """
        models = self._models
        top = min(top, len(vectors) if rows is None else len(rows))
        scores = np.full((len(queries), top), -np.inf, dtype=np.float32)
        numbers = np.full(scores.shape, -1)
        condition = self._condition(where)
        with self._client() as client:
            if not client.collection_exists(self.collection):
                raise NotReady(f'{self._place()} does not exist', todo='repeat vireid index')
            self._require_length(client)
            for start in range(0, len(queries), QUERIES):
                requests = [
                    models.QueryRequest(query=query.tolist(), filter=condition, limit=top)
                    for query in queries[start : start + QUERIES]
                ]
                answers = client.query_batch_points(self.collection, requests=requests)
                for place, answer in enumerate(answers, start):
                    hits = np.array([point.id for point in answer.points], dtype=np.int64)
                    # what changed since the last update may be filtered wrongly
                    hits = hits[(hits >= 0) & (hits < len(vectors))]
                    hits = np.sort(hits if rows is None else hits[np.isin(hits, rows)])
                    similarity = vectors[hits].astype(np.float32) @ queries[place]
                    order = np.argsort(-similarity, kind='stable')
                    scores[place, : len(order)], numbers[place, : len(order)] = similarity[order], hits[order]
        return scores, numbers

    def _condition(self, where: Any) -> Any:
        """Returns a filter in Qdrant's terms, None for all images."""
        models, conditions = self._models, []
        if where is not None and where.cameras:
            conditions.append(models.FieldCondition(key='camera', match=models.MatchAny(any=list(where.cameras))))
        if where is not None and (where.after or where.before):
            span = models.Range(gte=_seconds(where.after), lte=_seconds(where.before))
            conditions.append(models.FieldCondition(key='time', range=span))
        if where is not None and where.modality:
            conditions.append(models.FieldCondition(key='modality', match=models.MatchValue(value=where.modality)))
        return models.Filter(must=conditions) if conditions else None

    def _delete(self, client: Any, rows: np.ndarray) -> None:
        for start in range(0, len(rows), SCROLL):
            points = self._models.PointIdsList(points=rows[start : start + SCROLL].tolist())
            client.delete(self.collection, points_selector=points, wait=True)

    def _numbers(self, client: Any) -> np.ndarray:
        """Returns the numbers of all points."""
        numbers: list[int] = []
        offset = None
        while True:
            points, offset = client.scroll(
                self.collection, limit=SCROLL, offset=offset, with_payload=False, with_vectors=False
            )
            numbers += [point.id for point in points]
            if offset is None:
                return np.array(numbers, dtype=np.int64)

    def _require_length(self, client: Any) -> None:
        params = client.get_collection(self.collection).config.params.vectors
        if not isinstance(params, self._models.VectorParams) or params.size != self.length:
            raise Mismatch(
                f'{self._place()} does not have embeddings of length {self.length}',
                todo='use another collection: vireid index ... --cfg-options index.collection=NAME',
            )

    def _place(self) -> str:
        return f'the Qdrant collection {self.collection} at {self.url or self.folder / FOLDER}'

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """Opens Qdrant for some requests."""
        from qdrant_client.http.exceptions import ApiException

        try:
            if self.url:
                key = os.environ.get(KEY)
                client = self._qdrant.QdrantClient(url=self.url, api_key=key, check_compatibility=False, timeout=60)
                with closing(client):
                    yield client
                return
            with _LOCAL:
                for path in sorted((self.folder / FOLDER).rglob('*')):
                    # Qdrant would follow a link, and unpickles old files of other names
                    if path.is_symlink() or path.name.startswith('storage'):
                        require_points(path)
                with closing(self._qdrant.QdrantClient(path=str(self.folder / FOLDER))) as client:
                    yield client
        except (ApiException, OSError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()
            raise (Unavailable if self.url else InUse)(
                f'{self._place()} cannot be used: {reason[0][:200] if reason else type(error).__name__}',
                todo=f'start the server, or set its key in {KEY}; then repeat the command: vireid index continues '
                'where it stopped' if self.url else 'wait until no other process uses it, and repeat the command',
            ) from error  # fmt: skip


def _payload(entry: Any) -> dict[str, Any]:
    fields = {'modality': entry.modality, 'camera': entry.camera}
    return fields | ({'time': _seconds(datetime.fromisoformat(entry.time))} if entry.time else {})


def _seconds(time: datetime | None) -> float | None:
    """Returns a time without a zone as seconds; as if it were UTC, since local time repeats an hour in autumn."""
    return None if time is None else time.replace(tzinfo=UTC).timestamp()


class _PointsOnly(pickle.Unpickler):
    """Unpickles points, and nothing else: pickles can run any code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) != ('qdrant_client.http.models.models', 'PointStruct'):
            raise ValueError(f'it contains {module}.{name}')
        return super().find_class(module, name)


@reads(
    'a folder of Qdrant',
    STORAGE,
    todo='delete the folder qdrant, and repeat vireid index with --cfg-options index.collection=NAME',
)
def require_points(path: Path) -> None:
    """Raises unless a file of Qdrant's local mode, which Qdrant unpickles, holds only points."""
    if path.is_symlink() or not path.is_file():
        raise ValueError('it is a link, or not a file')
    if path.name == f'{STORAGE}-journal':
        return
    if path.name != STORAGE:
        raise ValueError('it is a file of an old version of Qdrant')
    # not read-only: SQLite first rolls back what a killed process had begun, as Qdrant would
    with closing(sqlite3.connect(f'{path.absolute().as_uri()}?mode=rw', uri=True)) as db:
        tables = db.execute('SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL').fetchall()
        if [(kind, name) for kind, name, _ in tables] != [('table', 'points')]:
            raise ValueError('it has other tables')
        for key, value in db.execute('SELECT id, point FROM points'):
            if not isinstance(key, str) or not isinstance(value, bytes):
                raise ValueError('it has other values')
            _PointsOnly(io.BytesIO(value)).load()
