"""Qdrant: a server that fails or finds too few, foreign folders and collections, keys and consent."""

from __future__ import annotations

import json
import pickle
import socket
import sqlite3
import threading
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import qdrant_client

from tests.plugins.indexes.conftest import LENGTH, NONE
from vireid.console import warn
from vireid.errors import DamagedFile, InUse, Mismatch, NotReady, Unavailable, UnknownKey, UnsafeFile, WrongValue
from vireid.plugins.indexes import qdrant
from vireid.search.building import _take_up
from vireid.search.entries import Entries, Entry, Where
from vireid.search.index import VECTORS, append_vectors, build_searcher

URL = 'http://qdrant.invalid:6333'


class Server:
    """Stands in for a server: one local Qdrant in memory, which can be stopped."""

    def __init__(self, monkeypatch):
        self.points = qdrant_client.QdrantClient(':memory:')
        self.calls, self.stop_at, self.asked = [], None, []
        monkeypatch.setattr(qdrant_client, 'QdrantClient', self.connect)

    def connect(self, **options):
        self.asked.append(options)
        return Connection(self)


class Connection:
    def __init__(self, server):
        self.server = server

    def close(self):
        pass

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self.server.calls.append(name)
            if self.server.stop_at is not None and self.server.calls.count('upsert') >= self.server.stop_at:
                raise qdrant_client.http.exceptions.ResponseHandlingException(ConnectionRefusedError('refused'))
            return getattr(self.server.points, name)(*args, **kwargs)

        return call


@pytest.fixture
def server(monkeypatch):
    return Server(monkeypatch)


@pytest.fixture
def entries(gallery, tmp_path):
    """The gallery as an index folder with changes that no component has taken up."""
    append_vectors(tmp_path / VECTORS, range(40), gallery.vectors)
    table = Entries(tmp_path / 'images.sqlite', write=True)
    table.put([
        Entry(i.row, f'{i.row}.jpg', i.modality, False, i.camera, i.time, 'name' if i.time else '', 1, 1, b'x')
        for i in gallery.images.values()
    ])  # fmt: skip
    return table


@pytest.mark.filterwarnings('ignore:Payload indexes have no effect', 'ignore:Local mode performs exact')
def test_a_server_that_stops_in_the_middle_is_told_and_the_next_update_goes_on(
    server, entries, gallery, make, tmp_path, monkeypatch
):
    monkeypatch.setattr(qdrant, 'UPSERT', 10)
    index, about = make('Qdrant', url=URL), {'length': LENGTH}
    server.stop_at = 3
    with pytest.raises(Unavailable, match=f'{URL} .*refused') as caught:
        _take_up(tmp_path, entries, index, about, anew=False)
    assert 'index' in caught.value.todo
    assert server.points.count(index.collection).count == 20
    assert len(entries.pending()[0]) == 40
    with pytest.raises(Unavailable, match='refused'):
        index.search(gallery.vectors, gallery.vectors[:1].astype(np.float32), 3, None, Where())
    server.stop_at = None
    _take_up(tmp_path, entries, index, about, anew=False)
    assert server.points.count(index.collection).count == 40
    assert not entries.pending()[0]
    queries = gallery.vectors.astype(np.float32)
    assert index.search(gallery.vectors, queries, 1, None, Where())[1].ravel().tolist() == list(range(40))


def test_no_server_at_the_address(make, gallery):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{free.getsockname()[1]}'
        with pytest.raises(Unavailable, match=url):
            make('Qdrant', url=url).update(gallery.vectors, gallery.live, [], NONE)


@pytest.fixture
def answering():
    """Starts a server that gives all requests the same answer, in a thread."""
    listening = socket.create_server(('127.0.0.1', 0))

    def start(answer: str) -> str:
        def serve() -> None:
            while True:
                try:
                    asked, _ = listening.accept()
                except OSError:  # the test is over
                    return
                with asked:
                    asked.recv(2**16)
                    asked.sendall(answer.encode())

        threading.Thread(target=serve, daemon=True).start()
        return f'http://127.0.0.1:{listening.getsockname()[1]}'

    yield start
    listening.close()


@pytest.mark.parametrize(
    ('status', 'body', 'reason', 'todo'),
    [
        ('401 Unauthorized', 'Invalid API key or JWT', '401 Unauthorized', 'VIREID_QDRANT_KEY'),
        ('403 Forbidden', '{"status": {"error": "Forbidden: no access"}}', '403 Forbidden', 'VIREID_QDRANT_KEY'),
        ('500 Internal Server Error', '{"status": {"error": "disk is full"}}', '500 .*: disk is full', 'server'),
        ('429 Too Many Requests\r\nRetry-After: 3', '{"status": {"error": "slower"}}', '429 Too Many', 'wait'),
        ('429 Too Many Requests\r\nRetry-After: soon', 'slower', '429 Too Many', 'wait'),
        ('502 Bad Gateway', '<html>Bad Gateway</html>', '502 Bad Gateway', 'index.url'),
        ('200 OK', '<html>Log in</html>', 'not that of a Qdrant server', 'index.url'),
        ('200 OK', '{"result": [1, 2]}', 'not that of a Qdrant server', 'index.url'),
        ('200 OK\r\nContent-Length: 99', '{"result"', 'closed', 'start the server'),
    ],
)
def test_an_answer_that_is_an_error_or_not_of_qdrant(answering, make, gallery, status, body, reason, todo):
    length = '' if 'Length' in status else f'Content-Length: {len(body)}\r\n'
    url = answering(f'HTTP/1.1 {status}\r\n{length}\r\n{body}')
    index = make('Qdrant', url=url)
    for run in (
        lambda: index.update(gallery.vectors, gallery.live, [], NONE),
        lambda: index.search(gallery.vectors, gallery.vectors[:1].astype(np.float32), 3, None, Where()),
    ):
        with pytest.raises(Unavailable, match=f'{url} .*{reason}') as caught:
            run()
        assert todo in caught.value.todo
        assert qdrant.REPEAT in caught.value.todo


def test_a_server_that_hangs(make, gallery, monkeypatch):
    monkeypatch.setattr(qdrant, 'TIMEOUT', 1)
    with socket.create_server(('127.0.0.1', 0)) as silent:
        url = f'http://127.0.0.1:{silent.getsockname()[1]}'
        with pytest.raises(Unavailable, match=f'{url} .*timed'):
            make('Qdrant', url=url).update(gallery.vectors, gallery.live, [], NONE)


def test_a_key_that_http_cannot_send_is_not_shown(server, make, gallery, monkeypatch):
    monkeypatch.setenv('VIREID_QDRANT_KEY', 'sec\nret')
    with pytest.raises(WrongValue, match='VIREID_QDRANT_KEY') as caught:
        make('Qdrant', url=URL).update(gallery.vectors, gallery.live, [], NONE)
    assert 'ret' not in str(caught.value)
    monkeypatch.setenv('VIREID_QDRANT_KEY', 'secret\n')  # as in a file of keys
    make('Qdrant', url=URL).update(gallery.vectors, gallery.live, list(gallery.images.values()), NONE)
    assert server.asked[-1]['api_key'] == 'secret'


@pytest.mark.parametrize('name', ['..', 'a/b', 'a\\b', 'a\nb', 'a' * 256])
def test_names_that_qdrant_refuses(make, name):
    with pytest.raises(WrongValue, match=r'collection .*\n.* 255 characters'):
        make('Qdrant', collection=name)


@pytest.mark.filterwarnings('ignore:Payload indexes have no effect', 'ignore:Local mode performs exact')
def test_an_update_that_stopped_before_the_fields_were_indexed(server, make, gallery):
    index = make('Qdrant', url=URL)
    params = qdrant_client.models.VectorParams(size=LENGTH, distance='Dot')
    server.points.create_collection(index.collection, vectors_config=params)
    index.update(gallery.vectors, gallery.live, list(gallery.images.values()), NONE)
    assert server.calls.count('create_payload_index') == 3


@pytest.mark.filterwarnings('ignore:Payload indexes have no effect', 'ignore:Local mode performs exact')
def test_long_embeddings_are_sent_in_requests_that_qdrant_accepts(server, make, gallery, monkeypatch):
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    longest = max(len(json.dumps(value)) for value in every[np.isfinite(every)].astype(np.float32).tolist())
    assert (longest + 2) * qdrant.VALUES < 32 * 2**20  # with a comma and a space
    monkeypatch.setattr(qdrant, 'VALUES', 3 * LENGTH + 1)
    make('Qdrant', url=URL).update(gallery.vectors, gallery.live, list(gallery.images.values()), NONE)
    assert server.calls.count('upsert') == 14  # three at a time


@pytest.mark.filterwarnings('ignore:Payload indexes have no effect', 'ignore:Local mode performs exact')
def test_what_the_graph_does_not_find_is_searched_exactly(server, make, gallery, monkeypatch):
    index, asked, real = make('Qdrant', url=URL), [], server.points.query_batch_points

    def graph(name, requests):
        asked.append([(request.params.exact, request.params.hnsw_ef) for request in requests])
        answers = real(name, requests)
        if not requests[0].params.exact:
            answers[1].points = answers[1].points[:1]
        return answers

    monkeypatch.setattr(server.points, 'query_batch_points', graph)
    index.update(gallery.vectors, gallery.live, list(gallery.images.values()), NONE)
    queries = gallery.vectors[:3].astype(np.float32)
    _, few = index.search(gallery.vectors, queries, 5, None, Where())
    monkeypatch.setattr(qdrant, 'FEW', 39)
    _, many = index.search(gallery.vectors, queries, 5, None, Where())
    assert asked == [[(True, None)] * 3, [(False, 512)] * 3, [(True, None)]]
    assert many.tolist() == few.tolist() == np.argsort(-queries @ gallery.vectors.T, axis=1)[:, :5].tolist()


@pytest.mark.filterwarnings('ignore:Local mode performs exact')
def test_a_collection_without_the_images_is_told(server, make, gallery):
    index = make('Qdrant', url=URL)
    params = qdrant_client.models.VectorParams(size=LENGTH, distance='Dot')
    server.points.create_collection(index.collection, vectors_config=params)
    with pytest.raises(NotReady, match=f'{URL} .*none') as caught:
        index.search(gallery.vectors, gallery.vectors[:1].astype(np.float32), 3, None, Where())
    assert 'index' in caught.value.todo


@pytest.mark.filterwarnings('error')
def test_a_key_without_encryption_is_warned_of_once(make, gallery, monkeypatch, capsys):
    monkeypatch.setattr(warn, '_warned', set())
    monkeypatch.setenv('VIREID_QDRANT_KEY', 'secret')
    for _ in range(2):
        with pytest.raises(Unavailable):
            make('Qdrant', url='http://127.0.0.1:9').update(gallery.vectors, gallery.live, [], NONE)
    told = capsys.readouterr().err
    assert told.count('warning:') == 1
    assert 'http://127.0.0.1:9' in told
    assert 'secret' not in told


def test_the_key_comes_from_the_environment_only(server, make, gallery, monkeypatch):
    with pytest.raises(UnknownKey, match='key'):
        make('Qdrant', url=URL, key='secret')
    monkeypatch.setenv('VIREID_QDRANT_KEY', 'secret')
    make('Qdrant', url=URL).update(gallery.vectors, gallery.live, list(gallery.images.values()), NONE)
    assert [(options['url'], options['api_key']) for options in server.asked] == [(URL, 'secret')]


@pytest.mark.filterwarnings('ignore:Payload indexes have no effect', 'ignore:Local mode performs exact')
def test_points_have_the_camera_the_modality_and_the_time(server, make, gallery):
    index, shown = make('Qdrant', url=URL, collection='station'), []
    index.update(
        gallery.vectors, gallery.live, list(gallery.images.values()), NONE, lambda *counts: shown.append(counts)
    )
    assert shown == [(40, 40)]
    assert server.calls.count('create_payload_index') == 3
    (seven, eight), _ = server.points.scroll('station', limit=2, offset=7)
    assert seven.payload == {'modality': 'infrared', 'camera': '2'}
    seconds = (datetime(2026, 11, 29, 22, 8) - datetime(1970, 1, 1)).total_seconds()
    assert eight.payload == {'modality': 'visible', 'camera': '3', 'time': seconds}


def test_qdrant_gets_the_filter_and_not_the_rows(server, make):
    assert make('Qdrant', url=URL)._condition(Where()) is None
    where = Where(cameras=('1', '4'), after=datetime(1970, 1, 2), modality='infrared')
    camera, time, modality = make('Qdrant', url=URL)._condition(where).must
    assert (camera.key, camera.match.any) == ('camera', ['1', '4'])
    assert (time.key, time.range.gte, time.range.lte) == ('time', 86400, None)
    assert (modality.key, modality.match.value) == ('modality', 'infrared')


def test_a_collection_that_lost_or_has_other_images(server, make, gallery):
    index = make('Qdrant', url=URL)
    with pytest.raises(NotReady, match=URL):
        index.search(gallery.vectors, gallery.vectors[:1].astype(np.float32), 3, None, Where())
    index.update(gallery.vectors, gallery.live, list(gallery.images.values()), NONE)
    index.update(gallery.vectors, np.arange(10), [], NONE)  # images that were removed while another type searched
    assert server.points.count(index.collection).count == 10
    with pytest.raises(Mismatch, match=f'{URL} .* 2 ') as caught:
        index.update(gallery.vectors, np.arange(12), [], NONE)
    assert 'index.collection=NAME' in caught.value.todo
    with pytest.raises(Mismatch, match=f'{URL} .* 5\n'):
        make('Qdrant', length=5, url=URL).update(gallery.vectors[:, :5], gallery.live, [], NONE)


def test_a_folder_with_embeddings_of_another_length(make, gallery):
    every = list(gallery.images.values())
    make('Qdrant').update(gallery.vectors, gallery.live, every, NONE)
    with pytest.raises(Mismatch, match='length 5'):
        make('Qdrant', length=5).update(gallery.vectors[:, :5], gallery.live, every, NONE)


class Runs:
    def __reduce__(self):
        return print, ('this must not run',)


@pytest.mark.parametrize('content', [pickle.dumps(Runs()), pickle.dumps(np.float64), b'no pickle', 7])
def test_a_foreign_folder_runs_nothing(make, gallery, tmp_path, capsys, content):
    index = make('Qdrant')
    index.update(gallery.vectors[:3], np.arange(3), [gallery.images[row] for row in range(3)], NONE)
    (storage,) = tmp_path.glob('qdrant/collection/*/storage.sqlite')
    with sqlite3.connect(storage) as db:
        db.execute('UPDATE points SET point = ?', (content,))
    db.close()
    with pytest.raises(DamagedFile, match=str(storage)) as caught:
        index.search(gallery.vectors[:3], gallery.vectors[:1].astype(np.float32), 3, None, Where())
    assert not isinstance(caught.value, InUse)
    assert 'this must not run' not in capsys.readouterr().out


@pytest.mark.parametrize('name', ['storage.dbm', 'collection/elsewhere', 'collection/a/b/storage.sqlite'])
def test_other_files_in_a_foreign_folder_are_refused(make, gallery, tmp_path, name):
    index = make('Qdrant')
    index.update(gallery.vectors[:3], np.arange(3), [gallery.images[row] for row in range(3)], NONE)
    path = tmp_path / 'qdrant' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith('elsewhere'):
        path.symlink_to(tmp_path)
    else:
        path.write_bytes(b'x')
    with pytest.raises(DamagedFile, match=str(path)) as caught:
        index.search(gallery.vectors[:3], gallery.vectors[:1].astype(np.float32), 3, None, Where())
    assert not isinstance(caught.value, InUse)


def test_a_folder_in_use_is_told(make, gallery, tmp_path):
    index = make('Qdrant')
    index.update(gallery.vectors[:3], np.arange(3), [gallery.images[row] for row in range(3)], NONE)
    other = qdrant_client.QdrantClient(path=str(tmp_path / 'qdrant'))
    with pytest.raises(InUse, match=str(tmp_path / 'qdrant')) as caught:
        index.search(gallery.vectors[:3], gallery.vectors[:1].astype(np.float32), 3, None, Where())
    assert isinstance(caught.value.__cause__, RuntimeError)  # of Qdrant
    other.close()


def test_an_index_that_names_a_server_needs_consent(server, gallery, tmp_path):
    about = {'index': {'type': 'Qdrant', 'url': URL}, 'length': LENGTH}
    with pytest.raises(UnsafeFile, match=URL) as caught:
        build_searcher(tmp_path, about, (), trust=False)
    assert '--trust-config' in caught.value.todo
    assert build_searcher(tmp_path, about, (), trust=True).url == URL
    assert build_searcher(tmp_path, {**about, 'index': {'type': 'Qdrant'}}, (), trust=False).url is None
    assert not server.asked


def test_a_component_that_declares_that_it_reaches_out_needs_consent(tmp_path):
    plugin = Path(tmp_path / 'far.py')
    plugin.write_text(
        'import vireid\n\nclass Far:\n    reaches_out = True\n    def update(self, *args): pass\n'
        '    def search(self, *args): pass\n\n@vireid.hookimpl\ndef register_components(add):\n'
        "    add('indexes', 'Far', Far)\n"
    )
    about = {'index': {'type': 'Far'}, 'length': LENGTH}
    with pytest.raises(UnsafeFile) as caught:
        build_searcher(tmp_path, about, (plugin,), trust=False)
    assert '--trust-config' in caught.value.todo
    assert build_searcher(tmp_path, about, (plugin,), trust=True)
