"""The index type `Qdrant` against Qdrant's own engine, and against servers that fail.

It needs `pip install qdrant-edge-py jsonschema`. It starts benchmarks/qdrant_server.py, kills and restarts it, and
compares the results with those of `Exact`. With `--openapi FILE`, it checks requests and answers by Qdrant's API
description, docs/redoc/master/openapi.json in Qdrant's repository.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import itertools
import json
import os
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import qdrant_client

from vireid.errors import Mismatch, NotReady, Unavailable, VireidError, WrongValue
from vireid.plugins.indexes import qdrant
from vireid.search.about import write_about
from vireid.search.building import _take_up
from vireid.search.entries import Entries, Entry, Where
from vireid.search.index import IMAGES, VECTORS, Index, append_vectors

TOP, CAMERAS, START = 20, 5, datetime(2026, 11, 29)


class Server:
    """The server as a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        self.url, self.record = f'http://127.0.0.1:{self.port}', folder / 'requests.jsonl'
        own = folder / 'storage'
        own.mkdir(parents=True)
        script = Path(__file__).with_name('qdrant_server.py')
        self.command = [sys.executable, script, own, self.record, f'--port={self.port}', *options]
        atexit.register(self.kill)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command)
        while True:
            try:
                httpx.get(f'{self.url}/')
                return
            except httpx.ConnectError:
                if self.process.poll() is not None:
                    raise SystemExit('the server did not start') from None
                time.sleep(0.05)

    def optimize(self, gallery: Gallery) -> tuple[bool, str]:
        """Lets the engine build its graphs."""
        httpx.post(f'{self.url}/optimize/{gallery.collection()}', timeout=300).raise_for_status()
        about = httpx.get(f'{self.url}/collections/{gallery.collection()}').json()['result']
        indexed, points = about['indexed_vectors_count'], about['points_count']
        return indexed == points > 0, f'{indexed:,} of {points:,} points in it, {about["segments_count"]} segments'

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Gallery:
    """An index folder with synthetic images, as `vireid index` writes it: 10 images of each person."""

    def __init__(self, folder: Path, count: int, length: int, url: str, **options: str) -> None:
        self.folder, self.length = folder, length
        self.rng = np.random.default_rng(0)
        self.people = self.rng.standard_normal((max(1, count // 10), length))
        self.config = {'type': 'Qdrant', 'url': url, **options}
        folder.mkdir()
        self.entries = Entries(folder / IMAGES, write=True)
        self.put(range(count))
        self.describe()

    def embeddings(self, count: int) -> np.ndarray:
        own = self.people[self.rng.integers(len(self.people), size=count)]
        own = own + 0.75 * self.rng.standard_normal(own.shape)
        return (own / np.linalg.norm(own, axis=1, keepdims=True)).astype(np.float32)

    def put(self, rows: range) -> None:
        """Adds images, or embeds them again: other people at other cameras."""
        append_vectors(self.folder / VECTORS, rows, self.embeddings(len(rows)))
        times = [(START + timedelta(minutes=row)).isoformat(' ') if row % 7 else '' for row in rows]
        cameras = self.rng.integers(CAMERAS, size=len(rows)).astype(str).tolist()
        self.entries.put(
            [
                Entry(row, f'{row}.jpg', ('visible', 'infrared')[row % 2], False, camera, time, '', 1, 1, b'x')
                for row, camera, time in zip(rows, cameras, times, strict=True)
            ]
        )

    def update(self, anew: bool = False) -> None:
        self.describe()
        index = self.index()
        _take_up(self.folder, self.entries, index.searcher, index.about, anew)

    def describe(self) -> None:
        write_about(self.folder, {
            'format': 1, 'root': str(self.folder), 'checkpoint': '', 'digest': '', 'label': '', 'length': self.length,
            'index': self.config, 'options': [],
        })  # fmt: skip

    def index(self, kind: str = 'Qdrant') -> Index:
        index = Index.open(self.folder, trust=True)
        if kind == 'Exact':
            index.about['index'] = {'type': 'Exact'}
        return index

    def search(self) -> None:
        self.index().search(self.embeddings(1), TOP)

    def collection(self) -> str:
        return str(self.index().searcher.collection)

    def stored(self) -> tuple[int, bool]:
        """Returns how many points the server has, and whether they are those of the images."""
        with closing(qdrant_client.QdrantClient(self.config['url'], check_compatibility=False)) as client:
            ids = [point.id for point in client.scroll(self.collection(), limit=10**6)[0]]
        return len(ids), ids == [entry.row for entry in self.entries.all()]


def compare(gallery: Gallery, where: Where, least: float) -> tuple[bool, str]:
    """Compares the results of 100 queries with those of `Exact`."""
    queries = gallery.embeddings(100)
    try:
        right, found = (gallery.index(kind).search(queries, TOP, where) for kind in ('Exact', 'Qdrant'))
    except VireidError as error:
        return False, str(error)
    same = np.mean([[hit.row for hit in a] == [hit.row for hit in b] for a, b in zip(right, found, strict=True)])
    shared = [({h.row: h.score for h in a}, {h.row: h.score for h in b}) for a, b in zip(right, found, strict=True)]
    recall = np.mean([len(a.keys() & b.keys()) / len(a) for a, b in shared])
    error = max(abs(a[row] - b[row]) for a, b in shared for row in a.keys() & b.keys())
    ordered = all(list(b.values()) == sorted(b.values(), reverse=True) for _, b in shared)
    text = f'recall at {TOP} {recall:.4f}, the same list {same:.0%}, scores differ by {error:.0e}'
    return bool(recall >= least and error < 1e-5 and ordered), text


def raised(kind: type[VireidError], *texts: str, run: Callable[[], Any]) -> tuple[bool, str]:
    """Returns whether a call raises the error, and names the address and what to do."""
    start = time.perf_counter()
    try:
        run()
    except VireidError as error:
        seconds = time.perf_counter() - start
        sound = (
            isinstance(error, kind) and bool(error.todo or error.allowed) and all(text in str(error) for text in texts)
        )
        return sound and seconds < 30, f'{type(error).__name__}: {" ".join(str(error).split())}'
    except Exception as error:  # a traceback for the user
        return False, f'{type(error).__name__}: {error}'
    return False, 'no error'


WHERES = {
    'no filter': Where(),
    'cameras': Where(cameras=('1', '3')),
    'time': Where(after=START + timedelta(hours=9), before=START + timedelta(hours=40)),
    'modality': Where(modality='infrared'),
    'all three': Where(('2',), START + timedelta(hours=5), START + timedelta(hours=60), 'visible'),
}


JSON = 'Content-Type: application/json'
FAULTS = {
    'a key that may not write': ('403 Forbidden', 'Content-Type: text/plain', 'Write access to collection is required'),
    'an error of the server': ('500 Internal Server Error', JSON, '{"status":{"error":"Service internal error"}}'),
    'too many requests': ('429 Too Many Requests', 'Retry-After: 3', '{"status":{"error":"Rate limit exceeded"}}'),
    'too many, no number': ('429 Too Many Requests', 'Retry-After: soon', 'slow down'),
    'a proxy that is up': ('200 OK', 'Content-Type: text/html', '<html>Log in</html>'),
    'a proxy whose server is away': ('502 Bad Gateway', 'Content-Type: text/html', '<html>Bad Gateway</html>'),
    'a redirect': ('302 Found', 'Location: /login', ''),
    'another JSON': ('200 OK', JSON, '{"result": [1, 2]}'),
    'half an answer': ('200 OK', 'Content-Length: 999', '{"result":'),
    'a connection that closes': None,
    'a server that hangs': '',
}


def faulty(answer: tuple[str, str, str] | str | None) -> socketserver.ThreadingTCPServer:
    """Returns a server that gives every request the same answer, `None` closes the connection, an empty one hangs."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(2**16)
            if answer:
                status, header, body = answer
                length = '' if 'Length' in header else f'Content-Length: {len(body)}\r\n'
                self.request.sendall(f'HTTP/1.1 {status}\r\n{header}\r\n{length}\r\n{body}'.encode())
            elif answer is not None:
                time.sleep(2 * qdrant.TIMEOUT)

    server = socketserver.ThreadingTCPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@contextmanager
def killed(server: Server, request: int, delay: float) -> Iterator[None]:
    """Kills the server some seconds after the start of a request with points."""
    real, count = qdrant_client.QdrantClient.upsert, itertools.count(1)
    timer = threading.Timer(delay, server.kill)

    def upsert(*args: Any, **options: Any) -> Any:
        if next(count) == request:
            timer.start()
        return real(*args, **options)

    with patch.object(qdrant_client.QdrantClient, 'upsert', upsert):
        yield
    timer.join()


def invalid(openapi: Path, record: Path) -> tuple[bool, str]:
    """Checks the recorded requests and answers by Qdrant's API description; unknown keys count as invalid."""
    import jsonschema

    def strict(node: Any) -> Any:
        """Returns OpenAPI 3.0 as JSON Schema."""
        if not isinstance(node, dict):
            return [strict(each) for each in node] if isinstance(node, list) else node
        node = {key: strict(each) for key, each in node.items()}
        if node.get('type') == 'object' and 'properties' in node:
            node.setdefault('additionalProperties', False)
        if node.get('nullable') is not True:
            return node
        del node['nullable']
        return {'anyOf': [node, {'type': 'null'}]} if node else {'type': 'null'}

    api = strict(json.loads(openapi.read_text()))
    errors, kinds = [], set()
    for line in record.read_text().splitlines():
        method, route, options, body, answer = json.loads(line)
        if route not in api['paths']:
            continue  # of our server only
        kinds.add((method, route))
        about = api['paths'][route][method.lower()]
        errors += [f'{route}: {name}' for name in options.keys() - {each['name'] for each in about['parameters']}]
        contents = [(answer, about['responses']['200'])]
        if body is not None:
            contents.append((body, about['requestBody']))
        for content, described in contents:
            schema = {**described['content']['application/json']['schema'], 'components': api['components']}
            found = jsonschema.Draft202012Validator(schema).iter_errors(content)
            errors += [f'{route}: {error.message[:200]}' for error in found]
    return not errors and len(kinds) == 10, '; '.join([f'{len(kinds)} of 10 kinds of request', *errors[:3]])


def checks(args: argparse.Namespace, folder: Path) -> Iterator[tuple[str, tuple[bool, str]]]:
    """Yields each check, whether it passed, and what was seen."""
    server = Server(folder)
    gallery = Gallery(folder / 'index', args.images, args.length, server.url)
    gallery.update()
    count, same = gallery.stored()
    yield 'first update', (same, f'{count:,} points')

    def searches(what: str, least: float) -> Iterator[tuple[str, tuple[bool, str]]]:
        for name, where in WHERES.items():
            yield f'{what}, {name}', compare(gallery, where, least)

    yield from searches('all compared', 1)
    yield 'graph', server.optimize(gallery)
    qdrant.FEW = args.images // 10  # so that only the strictest filter gets an exact search
    yield from searches('graph', args.recall)

    gallery.entries.remove(range(100, 400))
    gallery.put(range(1000, 1300))  # embedded again
    gallery.put(range(100, 150))  # new images with numbers of removed ones
    gallery.update()
    count, same = gallery.stored()
    yield 'removed and embedded again', (same and count == args.images - 250, f'{count:,} points')
    yield from searches('changed', args.recall)
    yield 'graph anew', server.optimize(gallery)
    yield from searches('graph anew', args.recall)

    for _ in range(args.kills):
        gallery.put(range(args.images, args.images + 2000))
        first = gallery.stored()[0]
        request = int(args.moments.integers(1, 8))
        with killed(server, request, args.moments.uniform(0, 0.03)):
            yield f'killed in request {request} of 8', raised(Unavailable, server.url, 'index', run=gallery.update)
        yield '  search without the server', raised(Unavailable, server.url, run=gallery.search)
        server.start()
        after = gallery.stored()[0]
        gallery.update()
        count, same = gallery.stored()
        yield '  the same update again', (same, f'{first:,} points before, {after:,} after the kill, {count:,} now')
        yield '  results', compare(gallery, Where(), args.recall)
        gallery.entries.remove(range(args.images, args.images + 2000))
        gallery.update()

    half = Gallery(folder / 'half', 300, args.length, server.url)
    with closing(qdrant_client.QdrantClient(server.url, check_compatibility=False)) as client:
        params = client.get_collection(gallery.collection()).config.params.vectors
        client.create_collection(half.collection(), vectors_config=params)  # and there the update was killed
        half.update()
        fields = sorted(client.get_collection(half.collection()).payload_schema)
    yield 'killed after it made the collection', (fields == ['camera', 'modality', 'time'], f'indexed: {fields}')
    other = Gallery(folder / 'other', 50, 64, server.url, collection=gallery.collection())
    yield 'another vector size, update', raised(Mismatch, server.url, 'length 64', run=other.update)
    yield 'another vector size, search', raised(Mismatch, server.url, run=other.search)
    long = Gallery(folder / 'long', 300, 12_288, server.url)
    long.update()
    yield 'embeddings as long as those of DEEN', compare(long, Where(), 1)
    httpx.delete(f'{server.url}/collections/{half.collection()}')
    yield 'a lost collection, search', raised(NotReady, server.url, run=half.search)
    yield 'a lost collection, update', raised(Mismatch, server.url, 'NAME', run=half.update)
    yield 'a lost collection, search after it', raised(NotReady, server.url, run=half.search)
    half.config['collection'] = 'anew'
    half.update(anew=True)  # as vireid index does when the config of the index changes
    yield 'a lost collection, sent anew', compare(half, Where(), 1)
    if args.openapi:
        yield 'by the API description', invalid(args.openapi, server.record)
    server.kill()

    locked = Server(folder / 'locked', '--key=right')
    half.config['url'] = locked.url
    for key in ('', 'wrong', 'key\u00e9', 'right\n'):
        os.environ[qdrant.KEY] = key
        run = functools.partial(half.update, anew=True)
        if key.strip() == 'right':
            run()
            yield 'the right key', compare(half, Where(), 1)
        elif key.isascii():
            yield f'{key or "no"} key', raised(Unavailable, locked.url, qdrant.KEY, '401', run=run)
        else:
            yield 'a key that HTTP cannot send', raised(WrongValue, qdrant.KEY, run=run)
    locked.kill()

    qdrant.TIMEOUT = 2
    for name, answer in FAULTS.items():
        with faulty(answer) as faults:
            half.config['url'] = f'http://127.0.0.1:{faults.server_address[1]}'
            yield f'{name}, update', raised(Unavailable, half.config['url'], run=half.update)
            yield f'{name}, search', raised(Unavailable, half.config['url'], run=half.search)
            faults.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=4000)
    parser.add_argument('--length', type=int, default=256)
    parser.add_argument('--recall', type=float, default=0.99, help='the least recall that a graph may have')
    parser.add_argument('--kills', type=int, default=5)
    parser.add_argument('--seed', type=int, default=0, help='of the moments of the kills')
    parser.add_argument('--openapi', type=Path, help="openapi.json in Qdrant's repository")
    args = parser.parse_args()
    args.moments = np.random.default_rng(args.seed)
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        try:
            for name, (passed, seen) in checks(args, Path(temporary)):
                failed += not passed
                print(f'{"ok" if passed else "FAILED":<7}{name:<37}{seen}', flush=True)
        except VireidError as error:  # of what must work; the rest depends on it
            failed += 1
            print(f'FAILED {error}')
    print(f'{failed} failed' if failed else 'all passed')
    sys.exit(failed > 0)


if __name__ == '__main__':
    main()
