"""Qdrant: hands the embeddings to a Qdrant server, or to Qdrant's local mode."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from vireid.boundary.reading import reads
from vireid.console.warn import warn_once
from vireid.errors import InUse, Mismatch, MissingPackage, NotReady, Unavailable, WrongValue

KEY = 'VIREID_QDRANT_KEY'
FOLDER, STORAGE = 'qdrant', 'storage.sqlite'
FIELDS = {'camera': 'keyword', 'modality': 'keyword', 'time': 'float'}
UPSERT, QUERIES, SCROLL = 256, 64, 10_000  # points, queries and numbers per request
VALUES = 2**20  # of embeddings per request: at most 26 MB of text, and Qdrant accepts 32
FEW = 50_000  # with at most this many images to choose from, an exact search is as fast as one in Qdrant's graph
EFFORT = 512  # candidates of a search in the graph; Qdrant's default of 100 misses many
MORE = 10  # additional candidates, since Qdrant rounds queries to float16
TIMEOUT = 60  # seconds until a request fails
REPEAT = 'repeat the command: vireid index continues where it stopped'
ELSEWHERE = f'check the address, which --cfg-options index.url=... of vireid index sets; then {REPEAT}'
WAIT = 'wait until no other process uses it, and repeat the command'
_NAME = re.compile(r'(?!\.{1,2}$)[^<>:"/\\|?*\x00-\x1f]{1,255}')
_LOCAL = threading.Lock()  # Qdrant lets one user at a time open a local folder


class Qdrant:
    """Search by Qdrant, whose server may have several machines and serve several programs.

    Needs `pip install "vireid[qdrant]"`. Each image is a point: its number, its embedding, and a payload `modality`,
    `camera` and `time` (seconds since 1970 as if local time were UTC). Qdrant applies the filters. The similarities
    are computed from the file of embeddings, so they are those of `Exact`. With up to 50,000 images to choose from,
    Qdrant compares all of them; with more, it follows its graph of neighbors and may miss some.

    The key of a server comes from the environment variable VIREID_QDRANT_KEY only.

    Args:
        folder: the folder of the index.
        length: length D of an embedding.
        url: address of a server, such as `http://localhost:6333`; without it, Qdrant's local mode keeps the points in
            the folder of the index and compares all of them, for trials with a few thousand images.
        collection: name of the collection; by default one that is derived from the folder.

    Raises:
        VireidError: if qdrant-client is not installed, or the address or the name is invalid.
    """

    def __init__(self, folder: Path, length: int, url: str | None = None, collection: str | None = None) -> None:
        try:
            import qdrant_client
        except ImportError as error:
            raise MissingPackage('qdrant-client is not installed', todo='pip install "vireid[qdrant]"') from error
        if url is not None and not url.startswith(('http://', 'https://')):
            raise WrongValue(f'url is {url!r}', allowed='an address such as http://localhost:6333')
        if collection and not _NAME.fullmatch(collection):
            raise WrongValue(
                f'collection is {collection!r}',
                allowed='1 to 255 characters other than < > : " / \\ | ? * and control characters, not . or ..',
            )
        self._qdrant, self._models = qdrant_client, qdrant_client.models
        self.folder, self.length, self.url = folder, length, url
        own = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16] if url else 'images'
        self.collection = collection or f'vireid_{own}'

    def update(
        self, vectors: np.ndarray, live: np.ndarray, changed: Sequence[Any], removed: np.ndarray,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:  # fmt: skip
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
            about = self._require_length(client)
            fields = FIELDS.keys() - about.payload_schema if self.url else ()
            for name in sorted(fields):  # an interrupted update may have left some without an index
                client.create_payload_index(self.collection, name, field_schema=models.PayloadSchemaType(FIELDS[name]))
            self._delete(client, removed)
            step = self._at_once(UPSERT)
            for start in range(0, len(changed), step):
                part = changed[start : start + step]
                rows = [int(entry.row) for entry in part]
                batch = models.Batch(
                    ids=rows, vectors=vectors[rows].astype(np.float32).tolist(), payloads=[_payload(e) for e in part]
                )
                client.upsert(self.collection, points=batch, wait=True)
                on_progress(start + len(part), len(changed))
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
        total = len(vectors) if rows is None else len(rows)
        scores = np.full((len(queries), min(top, total)), -np.inf, dtype=np.float32)
        numbers = np.full(scores.shape, -1)
        condition, short = self._condition(where), np.arange(len(queries))
        with self._client() as client:
            if not client.collection_exists(self.collection):
                raise NotReady(f'{self._place()} does not exist', todo='repeat vireid index')
            self._require_length(client)
            for exact in (True,) if total <= FEW else (False, True):  # the graph finds too few with some filters
                for place, hits in self._candidates(client, queries, short, condition, scores.shape[1], exact):
                    # what changed since the last update may be filtered wrongly
                    hits = hits[(hits >= 0) & (hits < len(vectors))]
                    hits = np.sort(hits if rows is None else hits[np.isin(hits, rows)])
                    similarity = vectors[hits].astype(np.float32) @ queries[place]
                    order = np.argsort(-similarity, kind='stable')[: scores.shape[1]]
                    scores[place, : len(order)], numbers[place, : len(order)] = similarity[order], hits[order]
                short = np.flatnonzero((numbers < 0).any(axis=1))
        if numbers.size and (numbers < 0).all():
            raise NotReady(f'{self._place()} has none of the images to search', todo='repeat vireid index')
        return scores, numbers

    def _candidates(
        self, client: Any, queries: np.ndarray, places: np.ndarray, condition: Any, top: int, exact: bool
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yields the place of each query and the numbers of the images that Qdrant finds."""
        models, step = self._models, self._at_once(QUERIES)
        effort = {'exact': True} if exact else {'hnsw_ef': max(EFFORT, 2 * top)}
        params = models.SearchParams(**effort) if self.url else None  # local mode is always exact
        for start in range(0, len(places), step):
            part = places[start : start + step].tolist()
            requests = [
                models.QueryRequest(query=queries[place].tolist(), filter=condition, limit=top + MORE, params=params)
                for place in part
            ]
            answers = client.query_batch_points(self.collection, requests=requests)
            for place, answer in zip(part, answers, strict=True):
                yield place, np.array([point.id for point in answer.points], dtype=np.int64)

    def _at_once(self, most: int) -> int:
        """Returns how many embeddings fit into a request."""
        return max(1, min(most, VALUES // self.length))

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

    def _require_length(self, client: Any) -> Any:
        """Returns what Qdrant knows about the collection."""
        about = client.get_collection(self.collection)
        params = about.config.params.vectors
        if not isinstance(params, self._models.VectorParams) or params.size != self.length:
            raise Mismatch(
                f'{self._place()} does not have embeddings of length {self.length}',
                todo='use another collection: vireid index ... --cfg-options index.collection=NAME',
            )
        return about

    def _place(self) -> str:
        return f'the Qdrant collection {self.collection} at {self.url or self.folder / FOLDER}'

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """Opens Qdrant for some requests."""
        from qdrant_client.common.client_exceptions import QdrantException
        from qdrant_client.http.exceptions import ApiException

        key = _key() if self.url else None
        try:
            if self.url:
                if key and self.url.startswith('http://'):
                    warn_once(f'the key in {KEY} is sent to {self.url} without encryption; use https:// if you can')
                # qdrant-client warns of this at every connection, and shows a line of code
                warnings.filterwarnings('ignore', 'Api key is used with an insecure connection')
                client = self._qdrant.QdrantClient(
                    url=self.url, api_key=key, check_compatibility=False, timeout=TIMEOUT
                )
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
        except (ApiException, QdrantException, OSError, RuntimeError, ValueError) as error:
            reason, todo = _explain(error) if self.url else (str(error), WAIT)
            first = (reason.strip() or type(error).__name__).splitlines()[0]
            raise (Unavailable if self.url else InUse)(
                f'{self._place()} cannot be used: {first[:200]}', todo=todo
            ) from error


def _key() -> str | None:
    """Returns the key of the server.

    Raises:
        WrongValue: if HTTP cannot send it; the error of httpx would show it.
    """
    key = os.environ.get(KEY, '').strip()
    if not (key.isascii() and key.isprintable()):
        raise WrongValue(f'the key in {KEY} has unusual characters', allowed='printable ASCII characters')
    return key or None


def _explain(error: Exception) -> tuple[str, str]:
    """Returns why a request to a server failed, in its words if there are any, and what to do."""
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import UnexpectedResponse

    if isinstance(error, QdrantException) or getattr(error, 'status_code', None) == 429:
        return 'the server answers 429 Too Many Requests', f'wait a minute, and {REPEAT}'
    if isinstance(getattr(error, 'source', error), (ValidationError, json.JSONDecodeError, UnicodeDecodeError)):
        return 'the answer is not that of a Qdrant server', ELSEWHERE
    if not isinstance(error, UnexpectedResponse):
        return str(error), f'start the server, and {REPEAT}'
    answer = f'the server answers {error.status_code} {error.reason_phrase}'
    if error.status_code in (401, 403):
        return answer, f'set the right key in {KEY}, and {REPEAT}'
    try:
        return f'{answer}: {error.structured()["status"]["error"]}', f'correct this on the server, and {REPEAT}'
    except (KeyError, TypeError, ValueError):
        return answer, ELSEWHERE


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
