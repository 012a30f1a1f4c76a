"""The search page: what it answers, what it refuses, and that nothing outside the index is served."""

from __future__ import annotations

import io
import random
from pathlib import Path

import anyio
import faults
import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from vireid.launch.launch import train
from vireid.search.building import build
from vireid.search.embedder import load
from vireid.search.gallery import find_gallery
from vireid.search.index import Index
from vireid.serve import app as served
from vireid.serve.app import create_app
from vireid.synth import synthesize

PLUGIN = Path(faults.__file__)


@pytest.fixture(scope='module')
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp('people')
    synthesize(folder, layout='sysu', ids=10, seed=0, images=1, workers=1)
    return folder


@pytest.fixture(scope='module')
def index(people, tmp_path_factory):
    """An index of the visible camera 1."""
    folder = tmp_path_factory.mktemp('served')
    train(faults.experiment(people), folder / 'run')
    checkpoint = folder / 'run/checkpoints/last.pt'
    root, found = find_gallery(people / 'cam1', camera='1')
    build(folder / 'index', root, found, load(checkpoint, [PLUGIN]), checkpoint=str(checkpoint))
    return Index.open(folder / 'index', [PLUGIN])


@pytest.fixture
def client(index):
    (index.folder / 'labels.csv').unlink(missing_ok=True)
    return TestClient(create_app(index), base_url='http://127.0.0.1:8000')


@pytest.fixture(scope='module')
def infrared(people):
    return next((people / 'cam3').rglob('*.jpg')).read_bytes()


def encoded(image: Image.Image, kind: str = 'PNG', **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_an_uploaded_image_is_ranked_as_in_the_index(client, index, infrared):
    answer = client.post('/search?top=3', content=infrared).json()
    assert (answer['modality'], answer['guessed'], answer['warnings']) == ('infrared', True, [])
    pixels = np.array(Image.open(io.BytesIO(infrared)).convert('RGB'))
    (hits,) = index.search(index.embedder.embed(pixels, 'infrared'), 3)
    assert [hit['row'] for hit in answer['hits']] == [hit.row for hit in hits]
    assert answer['hits'][0]['camera'] == '1'


def test_a_result_is_a_query_and_not_its_own_result(client):
    answer = client.get('/similar/2?top=4').json()
    assert len(answer['hits']) == 4
    assert 2 not in {hit['row'] for hit in answer['hits']}


def test_a_query_of_the_modality_of_the_gallery_and_one_that_contradicts_its_colors_are_told(client, infrared):
    (same,) = client.post('/search', content=encoded(Image.new('RGB', (32, 64), 'red'))).json()['warnings']
    assert same == 'All images of the index are visible, as the query is.'
    first, _ = client.post('/search?modality=visible', content=infrared).json()['warnings']
    assert first == 'The image has no colors, but was embedded as visible.'


def test_images_are_encoded_anew(client, index):
    for size in ('', '?large=1'):
        response = client.get(f'/image/0{size}')
        assert response.headers['content-type'] == 'image/jpeg'
        assert Image.open(io.BytesIO(response.content)).format == 'JPEG'
        assert response.content != index.root.joinpath(index.entries.all()[0].path).read_bytes()


@pytest.mark.parametrize(
    'path',
    [
        '/image/../../etc/passwd', '/image/%2e%2e%2fetc%2fpasswd', '/image//etc/passwd', '/static/page.js', '/app.py',
        '/labels.csv', '/index.json', '/image/-1', '/image/1.5', '/../index.json', '/page.js/../app.py', '/image/0x1',
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file(client, path):
    assert client.get(path).status_code == 404


def test_numbers_that_do_not_exist(client):
    for path in ('/image/999', '/similar/999', f'/image/{10**30}'):
        response = client.get(path)
        assert response.status_code in (400, 404)
        assert 'Traceback' not in response.text


@pytest.mark.parametrize(
    ('query', 'fact'),
    [
        ('top=0', "top is '0'"), ('top=1000000', "top is '1000000'"), ('top=x', "top is 'x'"), ('camera=9', "'9'"),
        ('after=noon', "after is 'noon'"), ('modality=thermal', "modality is 'thermal'"),
        ('among=thermal', "among is 'thermal'"), ('among=infrared', 'infrared'),
        ('after=2027-01-01&before=2026-01-01', '2027-01-01'),
    ],
)  # fmt: skip
def test_wrong_filters_are_explained(client, infrared, query, fact):
    response = client.post(f'/search?{query}', content=infrared)
    assert response.status_code == 400
    assert fact in response.json()['error']


def test_a_label_is_saved_and_cannot_be_a_formula(client, index):
    assert client.post('/label', json={'query': '=cmd|x', 'row': 1, 'same': True}).json() == {'saved': True}
    assert client.post('/label', json={'query': 'upload 12', 'row': 2, 'same': False}).status_code == 200
    head, first, second = (index.folder / 'labels.csv').read_text().splitlines()
    assert head == 'time,query,result,answer'
    assert first.split(',')[1:] == ["'=cmd|x", index.entries.of([1])[1].path, 'same']
    assert second.endswith(',different')


@pytest.mark.parametrize('body', [b'', b'{}', b'[]', b'null', b'{"query": 1, "row": 0, "same": true}', b'x' * 20_000])
def test_a_wrong_label_is_refused(client, body):
    assert client.post('/label', content=body).status_code == 400


@pytest.mark.parametrize('body', [b'{', b'\xff\xfe', b'[' * 9000])
def test_a_label_that_is_no_json_is_refused(client, body):
    assert client.post('/label', content=body).status_code == 400


def test_a_link_in_the_place_of_the_labels_is_not_followed(client, index, tmp_path):
    (tmp_path / 'other').write_text('mine')
    (index.folder / 'labels.csv').symlink_to(tmp_path / 'other')
    assert client.post('/label', json={'query': 'q', 'row': 1, 'same': True}).status_code == 400
    assert (tmp_path / 'other').read_text() == 'mine'


def test_a_camera_is_asked_for_by_the_name_that_the_page_shows(client, index, infrared, monkeypatch):
    asked = []
    monkeypatch.setattr(index, 'cameras', lambda: ['1\x1b'])
    monkeypatch.setattr(index, 'search', lambda vector, top, where: asked.append(where.cameras) or [[]])
    assert client.post('/search', params={'camera': '1\\x1b'}, content=infrared).status_code == 200
    assert asked == [('1\x1b',)]


def test_the_last_minute_counts(client, index, infrared, monkeypatch):
    asked = []
    monkeypatch.setattr(index, 'search', lambda vector, top, where: asked.append(where.before) or [[]])
    for text in ('2036-11-29T22:41', '2036-11-29'):  # later than the files of the gallery
        assert client.post('/search', params={'before': text}, content=infrared).status_code == 200
    assert [f'{moment:%H:%M:%S}' for moment in asked] == ['22:41:59', '23:59:59']


class TestStrangers:
    def test_a_foreign_host_name_gets_no_answer(self, index):
        assert TestClient(create_app(index), base_url='http://evil.example').get('/').status_code == 400

    @pytest.mark.parametrize(
        'headers', [{'origin': 'http://evil.example'}, {'origin': 'null'}, {'sec-fetch-site': 'cross-site'}]
    )
    def test_another_site_cannot_search_or_label(self, client, headers, infrared):
        assert client.post('/search', content=infrared, headers=headers).status_code == 403
        assert client.post('/label', json={}, headers=headers).status_code == 403

    def test_the_page_itself_may(self, client, infrared):
        headers = {'origin': 'http://127.0.0.1:8000', 'sec-fetch-site': 'same-origin'}
        assert client.post('/search', content=infrared, headers=headers).status_code == 200

    def test_nothing_without_the_token_and_the_address_loses_it(self, index, infrared):
        token = 't' * 20
        client = TestClient(create_app(index, ('*',), token), base_url='http://host')
        for path in ('/', '/page.js', '/image/0', f'/image/0?token={token}', '/?token=wrong', '/?token='):
            assert client.get(path).status_code == 401
        assert client.post('/search', content=infrared).status_code == 401
        entered = client.get(f'/?token={token}', follow_redirects=False)
        assert entered.headers['location'] == '/'
        assert 'HttpOnly' in entered.headers['set-cookie']
        assert 'samesite=strict' in entered.headers['set-cookie'].lower()
        assert client.get('/image/0').status_code == 200

    def test_every_answer_forbids_scripts_from_elsewhere(self, client):
        for path in ('/', '/image/0', '/none', '/page.js'):
            headers = client.get(path).headers
            assert "default-src 'none'; script-src 'self'" in headers['content-security-policy']
            assert headers['x-content-type-options'] == 'nosniff'
        page = client.get('/').text
        assert '<script src="page.js" defer></script>' in page
        assert 'http://' not in page
        assert 'https://' not in page


def hostile(infrared: bytes) -> list[bytes]:
    """Uploads that are no honest images."""
    rng = random.Random(0)
    whole = [infrared, encoded(Image.effect_noise((40, 80), 60)), encoded(Image.effect_noise((40, 80), 60), 'GIF')]
    made = []
    for number in range(150):
        content = bytearray(whole[number % 3])
        for _ in range(rng.randint(1, 30)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        made.append(bytes(content[: rng.randint(1, len(content))] if number % 2 else content))
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    exif = Image.Exif()
    exif[0x0112] = 8
    return [
        *made, svg, b'%!PS-Adobe\n(x) run', b'PK\x03\x04' + bytes(100), b'GIF89a' + svg, b'\x89PNG\r\n\x1a\n' + svg,
        infrared + b'PK\x03\x04' + svg, bytes(1000), b'P5 100000 100000 255\n', b'P6 9 9 255\n',
        encoded(Image.new('L', (12000, 12000))), encoded(Image.new('I;16', (8, 8))),
        encoded(Image.new('F', (8, 8)), 'TIFF'),
        encoded(Image.new('RGB', (9, 3)), 'JPEG', exif=exif), encoded(Image.new('RGB', (1, 1))),
    ]  # fmt: skip


@pytest.mark.filterwarnings('ignore:Image size')
def test_hostile_uploads_get_an_answer_and_leave_nothing(client, index, infrared):
    before = sorted(index.folder.iterdir())
    for content in hostile(infrared):
        response = client.post('/search?top=1', content=content)
        assert response.status_code in (200, 400), content[:20]
        assert 'Traceback' not in response.text
        assert str(index.root) not in response.text
    assert sorted(index.folder.iterdir()) == before
    assert client.post('/search', content=infrared).status_code == 200


def test_the_advice_about_an_upload_speaks_of_no_folder(client):
    response = client.post('/search', content=b'no image')
    assert response.status_code == 400
    assert 'folder' not in response.json()['todo']


def test_a_raw_upload_is_told_what_helps_without_flags_of_its_own(client):
    thermal = Image.fromarray(np.arange(7000, 7032, dtype=np.uint16).reshape(8, 4))
    response = client.post('/search', content=encoded(thermal))
    assert response.status_code == 400
    assert response.json()['error'] == 'the image has raw 16-bit values, 7000 to 7031'
    assert 'PNG of 8 bits' in response.json()['todo']


def test_an_image_that_fails_in_an_unknown_way_is_told_to_be_damaged(client, infrared, monkeypatch):
    def fail(*args):
        raise TypeError("'bytes' object cannot be interpreted as an integer")  # Pillow, of a damaged TIFF

    monkeypatch.setattr(served, 'decode_pixels', fail)
    response = client.post('/search', content=infrared)
    assert response.status_code == 400
    assert 'the image is damaged' in response.json()['error']


def test_an_upload_that_is_too_large_is_refused_before_it_is_read(client, monkeypatch):
    monkeypatch.setattr(served.read_body, '__defaults__', (1000,))
    response = client.post('/search', content=bytes(2000))
    assert '1,000' in response.json()['error']

    def endless():
        for _ in range(10_000):
            yield bytes(500)

    assert client.post('/search', content=endless()).status_code == 400  # without a Content-Length


def test_a_hundred_at_once_are_answered_and_few_are_in_memory(index, infrared, monkeypatch):
    inside, most = [0], [0]
    real = served.read_body

    async def counted(request, *args):
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        try:
            return await real(request, *args)
        finally:
            inside[0] -= 1

    monkeypatch.setattr(served, 'read_body', counted)

    async def send() -> list[int]:
        transport = httpx.ASGITransport(app=create_app(index))
        codes: list[int] = []
        async with httpx.AsyncClient(transport=transport, base_url='http://127.0.0.1') as client:

            async def one(number: int) -> None:
                content = infrared if number % 2 else infrared[: 50 * number]
                codes.append((await client.post('/search?top=1', content=content, timeout=60)).status_code)

            async with anyio.create_task_group() as group:
                for number in range(100):
                    group.start_soon(one, number)
        return codes

    codes = anyio.run(send)
    assert len(codes) == 100
    assert codes.count(200) >= 50
    assert set(codes) <= {200, 400}
    assert most[0] <= served.AT_ONCE
