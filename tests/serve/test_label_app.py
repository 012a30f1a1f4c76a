"""The label page: what it asks, what it takes, and what it refuses."""

from __future__ import annotations

import io
from pathlib import Path

import faults
import pytest
from PIL import Image
from starlette.testclient import TestClient

from vireid.labeling.labels import Labels, embed, only_one
from vireid.labeling.tracks import find_crops
from vireid.launch.launch import train
from vireid.search.embedder import load
from vireid.search.index import Index
from vireid.serve.label_app import create_app
from vireid.synth import synthesize

PLUGIN = Path(faults.__file__)
EMPTY = {'rows': [], 'same': [], 'different': [], 'name': '', 'despite': False}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('labeled')
    synthesize(folder / 'people', layout='sysu', ids=10, seed=0, images=1, workers=1)
    train(faults.experiment(folder / 'people'), folder / 'run')
    checkpoint = folder / 'run/checkpoints/last.pt'
    with only_one(folder / 'people'):
        found, _, _ = find_crops(folder / 'people')
        embed(folder / 'people', found, load(checkpoint, [PLUGIN]), str(checkpoint), [PLUGIN], lambda *given: None)
    return folder / 'people'


@pytest.fixture
def labels(folder):
    (folder / 'label/answers.jsonl').unlink(missing_ok=True)
    return Labels(folder, Index.open(folder / 'label/index', [PLUGIN]), find_crops(folder)[1])


@pytest.fixture
def client(labels):
    return TestClient(create_app(labels), base_url='http://127.0.0.1:8000')


def send(client, **given):
    version = client.get('/question').json()['version']
    return client.post('/answer', json={'version': version, **EMPTY, **given})


def rows(group):
    return [track['row'] for track in group['tracks']]


def test_a_question_is_answered_and_the_next_one_comes_back(client, labels):
    asked = client.get('/question').json()
    assert (asked['version'], asked['kind'], asked['named']) == (0, 'match', 0)
    certainty = [candidate['certainty'] for candidate in asked['candidates']]
    assert certainty == sorted(certainty, reverse=True)
    first, others = asked['candidates'][0], asked['candidates'][1:]
    answer = {'rows': rows(asked['group']), 'same': [rows(first)], 'different': [rows(other) for other in others]}
    after = send(client, kind='people', **answer).json()
    assert after['version'] == 1
    assert after['named'] == len(rows(asked['group'])) + len(rows(first))
    assert labels.journal.answers[0]['same'] == [[labels.tracks[row].name for row in rows(first)]]
    (person,) = client.get('/people').json()['people']
    assert person['name'] == 'person-001'


def test_an_answer_to_a_question_that_another_window_has_answered_is_refused(client, labels):
    late = {'version': 0, **EMPTY, 'kind': 'skip', 'rows': [0]}
    assert client.post('/answer', json=late).status_code == 200
    response = client.post('/answer', json=late)  # or the same window, which did not get the answer
    assert (response.status_code, response.json()['contradiction']) == (409, False)
    assert len(labels.journal.answers) == 1


def test_a_contradiction_is_told_and_can_be_confirmed(client, labels):
    send(client, kind='people', rows=[0], different=[[1]])
    given = {'kind': 'people', 'rows': [0], 'same': [[1]]}
    response = send(client, **given)
    assert response.status_code == 409
    assert response.json()['contradiction']
    assert 'show different people' in response.json()['error']
    assert len(labels.journal.answers) == 1
    assert send(client, **given, despite=True).status_code == 200


def test_undo_and_names(client):
    send(client, kind='people', rows=[0], same=[[1]])
    send(client, kind='name', rows=[0, 1], name='Anna')
    assert [person['name'] for person in client.get('/people').json()['people']] == ['Anna']
    send(client, kind='undo')
    assert [person['name'] for person in client.get('/people').json()['people']] == ['person-001']
    assert send(client, kind='name', rows=[0, 1], name='<script>').status_code == 400


def test_when_all_is_answered_the_page_says_what_was_written(client):
    while (asked := client.get('/question').json())['kind'] != 'done':
        send(client, kind='skip', rows=rows(asked['group']))
    assert asked['summary'][0] == '0 people of both modalities, 0 images'


@pytest.mark.parametrize(
    'body', [b'', b'{', b'[]', b'{"version": 0}', b'[' * 9000, b'{"version": 0, "version": 1}', b'\xff']
)
def test_what_is_no_answer_is_refused(client, labels, body):
    response = client.post('/answer', content=body)
    assert response.status_code == 400
    assert labels.journal.answers == []


@pytest.mark.parametrize(
    'given',
    [
        {'kind': 'people', 'rows': [10**9]}, {'kind': 'people', 'rows': [-1]}, {'kind': 'people', 'rows': [0.5]},
        {'kind': 'people', 'rows': ['0']}, {'kind': 'people', 'rows': []}, {'kind': 'other'}, {'kind': 'skip', 'x': 1},
        {'kind': 'people', 'rows': [0], 'same': [[10**9]]}, {'kind': 'undo'},
    ],
)  # fmt: skip
def test_tracks_that_do_not_exist_and_other_nonsense(client, labels, given):
    assert send(client, **given).status_code == 400
    assert labels.journal.answers == []


def test_images_are_those_of_the_folder_encoded_anew(client, labels):
    response = client.get('/image/0?large=1')
    assert Image.open(io.BytesIO(response.content)).format == 'JPEG'
    assert response.content != labels.index.root.joinpath(labels.index.entries.all()[0].path).read_bytes()
    for path in ('/image/99999', '/image/-1', '/image/../label/answers.jsonl', '/answers.jsonl', '/manifest.csv'):
        assert client.get(path).status_code in (400, 404)


def test_strangers_get_nothing(labels):
    token = 't' * 20
    client = TestClient(create_app(labels, ('*',), token), base_url='http://host')
    for path in ('/', '/question', '/people', '/image/0'):
        assert client.get(path).status_code == 401
    assert client.post('/answer', json={}).status_code == 401
    own = TestClient(create_app(labels), base_url='http://127.0.0.1:8000')
    assert own.post('/answer', json={}, headers={'origin': 'http://evil.example'}).status_code == 403
    page = own.get('/')
    assert "default-src 'none'; script-src 'self'" in page.headers['content-security-policy']
    assert 'http://' not in page.text
    for name in ('base.css', 'page.css', 'label.css', 'label.js'):
        assert own.get(f'/{name}').status_code == 200
