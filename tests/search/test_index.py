"""Building an index, bringing it up to date, and searching it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import faults
import numpy as np
import pytest
from PIL import Image

import vireid
from vireid.boundary.image_files import RawImage
from vireid.errors import (
    AlreadyExists,
    Changed,
    Conflict,
    DamagedFile,
    InUse,
    Mismatch,
    NoMatch,
    NotReady,
    UnknownName,
    UnsafeFile,
    UnsupportedFile,
    WrongValue,
)
from vireid.runtime.lock import exclusive
from vireid.search import building
from vireid.search.building import build
from vireid.search.gallery import find_gallery
from vireid.search.index import Index, Where
from vireid.search.queries import search_images

PLUGIN = Path(faults.__file__)


@pytest.fixture(scope='module')
def embedder(checkpoint):
    return vireid.load(checkpoint, plugins=[PLUGIN])


@pytest.fixture
def gallery(people, tmp_path):
    """Four images of each of three cameras, of which the third is infrared."""
    for camera in (1, 2, 3):
        for person in sorted((people / f'cam{camera}').iterdir())[:4]:
            target = tmp_path / f'gallery/cam{camera}/{person.name}_2026112{camera}_120000.jpg'
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(next(person.iterdir()), target)
    return tmp_path / 'gallery'


@pytest.fixture
def make(gallery, tmp_path, embedder, checkpoint):
    """Builds or updates the index of the gallery, and opens it."""

    def run(**options):
        root, found = find_gallery(gallery)
        update = build(tmp_path / 'index', root, found, embedder, checkpoint=str(checkpoint), **options)
        return update, Index.open(tmp_path / 'index', plugins=[PLUGIN])

    return run


@pytest.fixture
def embedded(monkeypatch, embedder):
    """The paths that were embedded."""
    paths = []
    real = embedder.embed_files

    def record(files, *args):
        paths.extend(files)
        return real(files, *args)

    monkeypatch.setattr(embedder, 'embed_files', record)
    return paths


def test_each_image_finds_itself_and_the_scores_are_cosines(make, gallery, embedder):
    _, index = make()
    assert len(index) == 12
    assert index.cameras() == ['1', '2', '3']
    assert index.modalities() == {'infrared': 4, 'visible': 8}
    assert index.span() == (datetime(2026, 11, 21, 12), datetime(2026, 11, 23, 12))
    files = sorted(gallery.rglob('*.jpg'))
    vectors = embedder.embed(files)
    found = index.search(vectors, top=12)
    for file, hits, vector in zip(files, found, vectors, strict=True):
        assert hits[0].path == file.relative_to(gallery).as_posix()
        by_hand = sorted((float(vector @ other) for other in vectors), reverse=True)
        np.testing.assert_allclose([hit.score for hit in hits], by_hand, atol=2e-3)  # float16
    assert len({hit.row for hit in found[0]}) == 12
    np.testing.assert_allclose(index.vector(found[0][0].row), vectors[0], atol=2e-3)


@pytest.mark.parametrize(
    ('where', 'cameras'),
    [
        (Where(cameras=('2',)), '2222'),
        (Where(cameras=('1', '3')), '11113333'),
        (Where(after=datetime(2026, 11, 22, 12)), '22223333'),
        (Where(before=datetime(2026, 11, 22, 11, 59)), '1111'),
        (Where(after=datetime(2026, 11, 22), before=datetime(2026, 11, 22, 13)), '2222'),
        (Where(modality='infrared'), '3333'),
        (Where(cameras=('1',), modality='infrared'), ''),
    ],
)
def test_filters(make, embedder, gallery, where, cameras):
    _, index = make()
    (hits,) = index.search(embedder.embed(next(gallery.rglob('*.jpg'))), where=where)
    assert ''.join(sorted(hit.camera for hit in hits)) == cameras


def test_only_new_and_changed_images_are_embedded(make, gallery, embedded):
    update, _ = make()
    assert (update.embedded, update.removed, len(embedded)) == (12, 0, 12)
    embedded.clear()
    assert make()[0].embedded == len(embedded) == 0
    first, second, third, *_ = sorted(gallery.rglob('*.jpg'))
    os.utime(first)  # touched, with the same content
    shutil.copy(third, second)  # other content
    third.unlink()
    shutil.copy(first, gallery / 'cam2/new_20261201_000000.jpg')
    update, index = make()
    assert sorted(embedded) == sorted([str(second), str(gallery / 'cam2/new_20261201_000000.jpg')])
    assert (update.images, update.removed) == (12, 1)
    assert 'images    12: 2 embedded now, 1 removed' in update.text()
    assert third.name not in {Path(e.path).name for e in index.entries.all()}


def test_numbers_of_removed_images_are_used_again_and_found_no_more(make, gallery, embedder):
    _, index = make()
    gone = sorted(gallery.rglob('*.jpg'))[0]
    vector = embedder.embed(gone)
    row = index.search(vector)[0][0].row
    gone.unlink()
    _, index = make()
    assert gone.relative_to(gallery).as_posix() not in {hit.path for hit in index.search(vector)[0]}
    shutil.copy(sorted(gallery.rglob('*.jpg'))[0], gallery / 'cam1/z_20261121_130000.jpg')
    _, index = make()
    assert row in {e.row for e in index.entries.all() if e.path == 'cam1/z_20261121_130000.jpg'}
    assert len(index.vectors) == 12


def test_an_unreadable_image_is_told_and_left_out(make, gallery):
    (gallery / 'cam1/broken.jpg').write_bytes(b'\xff\xd8\xff no image')
    (gallery / 'cam1/empty.png').write_bytes(b'')
    update, index = make()
    assert len(index) == 12
    assert len(update.unreadable) == 2
    assert 'warning: 2 images cannot be read' in update.text()
    (gallery / 'cam1/broken.jpg').unlink()
    for image in gallery.rglob('*0.jpg'):
        image.write_bytes(b'')
    with pytest.raises(DamagedFile, match=r'\.(jpg|png)'):
        make()


KILLED = """
import os, signal, sys
from pathlib import Path
import faults, vireid
from vireid.search import building, entries
from vireid.search.gallery import find_gallery
building.AT_ONCE = 3
put, parts = entries.Entries.put, []
def killed(self, batch):
    put(self, batch)
    parts.append(batch)
    if len([p for p in parts if p]) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
entries.Entries.put = killed
gallery, index, checkpoint = map(Path, sys.argv[1:])
root, found = find_gallery(gallery)
embedder = vireid.load(checkpoint, plugins=[faults.__file__])
building.build(index, root, found, embedder, checkpoint=str(checkpoint))
"""


@pytest.mark.long
def test_a_killed_build_goes_on_where_it_was(make, gallery, tmp_path, checkpoint, embedded):
    code = KILLED.replace('import faults', f'sys.path.insert(0, {str(PLUGIN.parent)!r}); import faults')
    arguments = [str(gallery), str(tmp_path / 'index'), str(checkpoint)]
    done = subprocess.run([sys.executable, '-c', code, *arguments], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with pytest.raises(NotReady, match=r'index\.json'):
        Index.open(tmp_path / 'index')
    update, index = make()
    assert (update.embedded, len(embedded), len(index)) == (6, 6, 12)
    for entry in index.entries.all():
        (hit, *_) = index.search(index.vector(entry.row)[None])[0]
        assert hit.row == entry.row


def test_a_build_that_was_killed_after_its_last_image_is_finished(make, tmp_path, embedded):
    make()
    (tmp_path / 'index/index.json').unlink()
    embedded.clear()
    update, index = make()
    assert (update.embedded, len(embedded), len(index)) == (0, 1, 12)  # one, to know the length
    assert len(index.search(index.vector(3)[None])[0]) == 12


def test_an_index_belongs_to_one_checkpoint_and_one_gallery(make, gallery, tmp_path, checkpoint, embedder):
    make()
    root, found = find_gallery(gallery)
    other = vireid.load(checkpoint, plugins=[PLUGIN])
    next(other.model.parameters()).data.mul_(2)
    with pytest.raises(Mismatch, match=re.escape(str(checkpoint))):
        build(tmp_path / 'index', root, found, other, checkpoint='other.pt')
    with pytest.raises(Mismatch, match=re.escape(str(root / 'cam1'))):
        build(tmp_path / 'index', root / 'cam1', found, embedder, checkpoint=str(checkpoint))
    content = json.loads((tmp_path / 'index/index.json').read_text())
    (tmp_path / 'index/index.json').write_text(json.dumps({**content, 'digest': 'other'}))
    with pytest.raises(Mismatch, match=re.escape(str(checkpoint))):
        _ = Index.open(tmp_path / 'index', plugins=[PLUGIN]).embedder


def test_a_raw_query_is_told_what_a_search_can_do_about_it(make, tmp_path):
    _, index = make()
    query = tmp_path / 'raw.png'
    Image.fromarray(np.array([[7400, 8200]], dtype=np.uint16)).save(query)
    with pytest.raises(RawImage, match=r'raw\.png') as caught:
        search_images(index, [query], None, 1, Where(), 0.05, lambda line: None)
    assert 'index' in caught.value.todo


def test_a_gallery_that_was_moved_is_not_embedded_again(make, gallery, tmp_path, checkpoint, embedder, embedded):
    _, index = make()
    gallery.rename(tmp_path / 'elsewhere')
    warned = []
    query = next((tmp_path / 'elsewhere/cam1').iterdir())
    search_images(index, [query], None, 1, Where(), 0.05, warned.append)
    assert any(str(gallery) in line for line in warned)
    embedded.clear()
    root, found = find_gallery(tmp_path / 'elsewhere')
    update = build(tmp_path / 'index', root, found, embedder, checkpoint=str(checkpoint))
    assert (update.embedded, update.removed, embedded) == (0, 0, [])
    assert Index.open(tmp_path / 'index', plugins=[PLUGIN]).root == tmp_path / 'elsewhere'


def test_an_index_inside_its_gallery_is_copied_with_it(gallery, tmp_path, checkpoint, embedder, embedded):
    root, found = find_gallery(gallery)
    build(gallery / 'label/index', root, found, embedder, checkpoint=str(checkpoint))
    copy = tmp_path / 'copy'
    shutil.copytree(gallery, copy)
    embedded.clear()
    root, found = find_gallery(copy)
    update = build(copy / 'label/index', root, found, embedder, checkpoint=str(checkpoint))
    assert (update.embedded, update.removed, embedded) == (0, 0, [])
    assert Index.open(copy / 'label/index', plugins=[PLUGIN]).root == copy


def test_another_gallery_does_not_replace_one_that_is_out_of_reach(make, gallery, tmp_path, checkpoint, embedder):
    make()
    gallery.rename(tmp_path / 'elsewhere')
    (tmp_path / 'other/cam1').mkdir(parents=True)
    shutil.copy(next((tmp_path / 'elsewhere/cam2').iterdir()), tmp_path / 'other/cam1/a.jpg')
    root, found = find_gallery(tmp_path / 'other')
    with pytest.raises(Mismatch, match=re.escape(str(gallery))):
        build(tmp_path / 'index', root, found, embedder, checkpoint=str(checkpoint))


def test_one_process_at_a_time_updates_it(make, tmp_path):
    make()
    with exclusive(tmp_path / 'index'), pytest.raises(InUse, match=re.escape(str(tmp_path))) as refused:
        make()
    assert '--work-dir' not in str(refused.value)  # which only runs have


def test_a_folder_with_other_files_is_not_touched(make, tmp_path):
    (tmp_path / 'index').mkdir()
    (tmp_path / 'index/thesis.tex').write_text('x')
    with pytest.raises(AlreadyExists, match='thesis'):
        make()


def test_an_image_is_shown_only_with_the_content_that_was_indexed(make, gallery):
    _, index = make()
    entry = index.entries.all()[0]
    np.testing.assert_array_equal(index.image(entry.row), np.array(Image.open(gallery / entry.path).convert('RGB')))
    Image.new('RGB', (8, 8)).save(gallery / entry.path)
    with pytest.raises(Changed, match=re.escape(entry.path)):
        index.image(entry.row)
    (gallery / entry.path).unlink()
    with pytest.raises(DamagedFile, match=re.escape(entry.path)):
        index.image(entry.row)
    with pytest.raises(UnknownName, match=' 99'):
        index.image(99)


def test_a_truncated_index_is_refused(make, tmp_path):
    make()
    file = tmp_path / 'index/embeddings.f16'
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(DamagedFile, match=r'embeddings\.f16'):
        Index.open(tmp_path / 'index')


@pytest.mark.parametrize(
    'statement',
    [
        "UPDATE images SET modality = 'thermal'", "UPDATE images SET time = 'noon'", "UPDATE images SET row = -row",
        "UPDATE images SET path = CAST(path AS TEXT)", 'DROP TABLE images', 'CREATE VIEW evil AS SELECT 1',
        "CREATE TRIGGER t AFTER UPDATE ON images BEGIN SELECT writefile('x', 'y'); END", 'PRAGMA user_version = 9',
    ],
)  # fmt: skip
def test_a_foreign_table_is_refused(make, tmp_path, statement):
    _, index = make()
    vector = index.vector(1)[None]
    db = sqlite3.connect(tmp_path / 'index/images.sqlite')
    db.execute(statement)
    db.commit()
    db.close()
    with pytest.raises((DamagedFile, UnsupportedFile)):
        Index.open(tmp_path / 'index', plugins=[PLUGIN]).search(vector)


@pytest.mark.parametrize('garbage', [b'', b'no database at all', b'SQLite format 3\0' + b'\xff' * 5000])
def test_a_damaged_table_is_refused(make, tmp_path, garbage):
    make()
    (tmp_path / 'index/images.sqlite').write_bytes(garbage)
    with pytest.raises(DamagedFile):
        len(Index.open(tmp_path / 'index'))


@pytest.mark.parametrize(
    'change',
    [
        {'length': 0},
        {'length': '8'},
        {'format': 2},
        {'more': 1},
        {'root': 7},
        {'root': '/a\0b'},
        {'index': []},
        {'options': ['model.backbone.weights=x']},
    ],
)
def test_a_wrong_description_is_refused(make, tmp_path, change):
    make()
    path = tmp_path / 'index/index.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises((DamagedFile, UnsupportedFile)):
        Index.open(tmp_path / 'index')


def test_what_a_table_says_is_taken_over_without_embedding_again(
    make, gallery, tmp_path, embedder, checkpoint, embedded
):
    make()
    embedded.clear()
    files = sorted(gallery.rglob('*.jpg'))
    lines = [f'{path.relative_to(gallery)},gate,2026-12-24 18:00' for path in files]
    (gallery / 'all.csv').write_text('\n'.join(['path,camera,time', *lines]))
    root, found = find_gallery(gallery / 'all.csv')
    build(tmp_path / 'index', root, found, embedder, checkpoint=str(checkpoint))
    index = Index.open(tmp_path / 'index')
    assert not embedded
    assert index.cameras() == ['gate']
    assert {(e.time, e.time_from) for e in index.entries.all()} == {('2026-12-24 18:00:00', 'table')}


def test_names_with_markup_control_characters_and_bytes_that_are_not_utf_8(make, gallery):
    names = ['<b>.jpg', 'a\x1b[31m.jpg', os.fsdecode(b'caf\xe9.jpg'), "'; DROP TABLE images.jpg"]
    for name in names:
        shutil.copy(next((gallery / 'cam2').iterdir()), gallery / 'cam1' / name)
    _, index = make()
    assert {f'cam1/{name}' for name in names} <= {e.path for e in index.entries.all()}
    assert index.image(next(e.row for e in index.entries.all() if e.path.endswith('.jpg'))).shape[2] == 3


@pytest.mark.parametrize(
    ('where', 'kind', 'fact'),
    [
        (Where(cameras=('33',)), UnknownName, "'33'"),
        (Where(after=datetime(2027, 1, 1), before=datetime(2026, 1, 1)), Conflict, '2027-01-01.*2026-01-01'),
        (Where(after=datetime(2027, 1, 1)), NoMatch, '(?s)2027-01-01.*2026-11-2'),
        (Where(before=datetime(2026, 1, 1)), NoMatch, '(?s)2026-01-01.*2026-11-2'),
    ],
)
def test_filters_that_cannot_match(make, where, kind, fact):
    _, index = make()
    with pytest.raises(kind, match=fact):
        index.require_known(where)
    with pytest.raises(kind, match=fact):
        index.search(index.vector(0)[None], where=where)


@pytest.mark.parametrize(
    'filters', [{'after': '2026-01-01'}, {'before': 2026}, {'cameras': '12'}, {'cameras': (1, 2)}], ids=str
)
def test_filters_of_the_wrong_type(filters):
    ((name, given),) = filters.items()
    with pytest.raises(WrongValue, match=re.escape(f'{name} is {given!r}')):
        Where(**filters)


def test_progress_of_an_index_that_takes_long(make):
    shown = []
    make(index={'type': 'FaissIVF'}, on_progress=lambda *about: shown.append(about))
    assert [about for about in shown if about[0] == 'indexing'] == [('indexing', 0, 12), ('indexing', 12, 12)]


def test_wrong_queries(make):
    _, index = make()
    with pytest.raises(WrongValue, match=r'^top .*\b0\b'):
        index.search(index.vector(0)[None], top=0)
    with pytest.raises(Mismatch, match=re.escape(str(index.vector(0).shape))):
        index.search(index.vector(0))


def test_parts_of_any_size_give_the_same_index(make, monkeypatch, tmp_path):
    make()
    whole = (tmp_path / 'index/embeddings.f16').read_bytes()
    shutil.rmtree(tmp_path / 'index')
    monkeypatch.setattr(building, 'AT_ONCE', 12)
    make()
    assert (tmp_path / 'index/embeddings.f16').read_bytes() == whole


@pytest.mark.parametrize('name', ['images.sqlite', 'images.sqlite-journal', 'embeddings.f16', 'index.json'])
def test_nothing_is_written_through_a_link_in_a_received_folder(gallery, embedder, checkpoint, tmp_path, name):
    folder, elsewhere = tmp_path / 'received', tmp_path / 'elsewhere'
    folder.mkdir()
    (folder / name).symlink_to(elsewhere)
    root, found = find_gallery(gallery)
    with pytest.raises(UnsafeFile, match=re.escape(name)):
        build(folder, root, found, embedder, checkpoint=str(checkpoint))
    assert not elsewhere.exists()


@pytest.mark.parametrize('value', [50.0, np.inf])
def test_embeddings_that_would_beat_every_other_are_refused(make, tmp_path, embedder, gallery, value):
    _, index = make()
    query = index.embedder.embed(gallery / index.entries.all()[3].path)
    vectors = np.fromfile(index.vectors_file, dtype=np.float16).reshape(-1, index.about['length'])
    vectors[3] = (vectors[3] * value) if value == 50 else value * np.sign(query[0])
    vectors.tofile(index.vectors_file)
    with pytest.raises(DamagedFile, match=r'embeddings\.f16'):
        Index.open(tmp_path / 'index', plugins=[PLUGIN]).search(query)


@pytest.mark.parametrize(
    ('change', 'use'),
    [
        ("camera = x'41'", lambda index: index.cameras()),
        ("time = 'zzz'", lambda index: index.span()),
        ("path = x'00ff41'", lambda index: index.image(0)),
    ],
)
def test_values_that_the_table_cannot_have_are_an_error(make, tmp_path, change, use):
    _, index = make()
    with sqlite3.connect(tmp_path / 'index/images.sqlite') as db:
        db.execute(f'UPDATE images SET {change} WHERE row = 0')
    with pytest.raises(DamagedFile, match=r'images\.sqlite'):
        use(index)
