"""The files of FAISS indexes: checked when read, built anew when needed."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from tests.plugins.indexes.conftest import NONE, Image, make_gallery
from vireid.errors import DamagedFile, Mismatch, MissingFile, WriteFailed
from vireid.plugins.indexes import faiss_file
from vireid.plugins.indexes.exact import Exact
from vireid.plugins.indexes.faiss_file import read_index

TYPES = ('FaissIVF', 'FaissHNSW')


@pytest.fixture
def built(make, gallery):
    """Builds an index of the gallery."""

    def run(kind, **arguments):
        index = make(kind, **arguments)
        index.update(gallery.vectors, gallery.live, list(gallery.images.values()), NONE)
        return index

    return run


@pytest.mark.parametrize('kind', TYPES)
def test_building_shows_how_many_images_are_in(make, gallery, monkeypatch, kind):
    monkeypatch.setattr(faiss_file, 'BLOCK', 16 * gallery.vectors.shape[1])  # 16 of the 40 images at a time
    shown = []
    index = make(kind)
    index.update(gallery.vectors, gallery.live, [], NONE, on_progress=lambda done, total: shown.append((done, total)))
    assert shown == [(0, 40), (16, 40), (32, 40), (40, 40)]


@pytest.mark.parametrize('kind', TYPES)
@pytest.mark.parametrize('damage', ['cut', 'flip', 'empty', 'foreign', 'gone'])
def test_a_damaged_file_is_refused_and_built_anew(built, make, gallery, tmp_path, kind, damage):
    built(kind)
    file = tmp_path / 'faiss.index'
    whole = file.read_bytes()
    flipped = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    if damage == 'gone':
        file.unlink()
    else:
        file.write_bytes({'cut': whole[:-1], 'flip': flipped, 'empty': b'', 'foreign': b'IxF2' + b'\xff' * 600}[damage])
    with pytest.raises(MissingFile if damage == 'gone' else DamagedFile, match=r'faiss\.index') as caught:
        make(kind).search(gallery.vectors, gallery.vectors[:1].astype(np.float32), 3, None, None)
    assert 'index' in caught.value.todo
    make(kind).update(gallery.vectors, gallery.live, [], NONE)
    assert file.read_bytes() == whole


@pytest.mark.parametrize('kind', TYPES)
def test_other_arguments_of_its_structure_build_it_anew_and_those_of_a_search_do_not(built, make, gallery, kind):
    built(kind)
    search, structure = ({'probes': 3}, {'lists': 1}) if kind == 'FaissIVF' else ({'search': 7}, {'links': 5})
    state = built(kind).path.stat().st_ino
    make(kind, **search).update(gallery.vectors, gallery.live, [], NONE)
    assert built(kind, **search).path.stat().st_ino != state  # all images were handed over again
    make(kind, **structure).update(gallery.vectors, gallery.live, [], NONE)
    assert read_index(make(kind).path)[1]['built'] == {**make(kind, **structure).built}


@pytest.mark.parametrize('kind', TYPES)
def test_the_index_of_another_type_or_of_more_images_is_refused(built, make, gallery, tmp_path, kind):
    built(kind)
    other = TYPES[kind == TYPES[0]]
    query = gallery.vectors[:1].astype(np.float32)
    with pytest.raises(Mismatch, match=kind):
        make(other).search(gallery.vectors, query, 3, None, None)
    with pytest.raises(Mismatch, match=str(tmp_path)) as caught:
        make(kind).search(gallery.vectors[:10], gallery.vectors[10:20].astype(np.float32), 10, None, None)
    assert kind not in caught.value.given  # nor is it the type
    with pytest.raises(DamagedFile, match=r'faiss\.index.* 8\n'):
        make(kind, length=7).search(gallery.vectors[:, :7], query[:, :7], 3, None, None)


@pytest.mark.parametrize('kind', TYPES)
def test_it_is_built_anew_when_half_of_its_images_changed(built, gallery, kind):
    index = built(kind)
    for row in range(25):
        if row in (20, 24):
            found, note = read_index(index.path)
            assert (found.ntotal, note['changes']) == {20: (60 if kind == 'FaissHNSW' else 40, 20), 24: (40 + 3 * (kind == 'FaissHNSW'), 3)}[row]  # fmt: skip  # noqa: E501
        index.update(gallery.vectors, gallery.live, [gallery.images[row]], NONE)


def test_an_open_index_sees_what_another_process_adds(built, make, gallery):
    index = built('FaissIVF')
    query = gallery.vectors[:1].astype(np.float32)
    index.search(gallery.vectors, query, 1, None, None)
    gallery.vectors = np.concatenate([gallery.vectors, -gallery.vectors[:1]])
    gallery.images[40] = Image(40, 'visible', '9', '')
    make('FaissIVF').update(gallery.vectors, gallery.live, [gallery.images[40]], NONE)
    assert index.search(gallery.vectors, -query, 1, None, None)[1].tolist() == [[40]]


@pytest.mark.parametrize('kind', TYPES)
def test_a_full_disk_is_told_and_leaves_the_old_file(built, gallery, monkeypatch, kind):
    index = built(kind)
    whole = index.path.read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(faiss_file.os, 'fsync', full)
    with pytest.raises(WriteFailed, match=rf'faiss\.index.* {errno.ENOSPC}\]'):
        index.update(gallery.vectors, gallery.live, [gallery.images[0]], NONE)
    assert index.path.read_bytes() == whole
    assert [path.name for path in index.path.parent.iterdir()] == ['faiss.index']


@pytest.mark.parametrize(('kind', 'arguments'), [('FaissIVF', {'probes': 4}), ('FaissHNSW', {'search': 16})])
def test_a_filter_makes_the_index_consider_more_images(make, tmp_path, monkeypatch, kind, arguments):
    monkeypatch.setattr(faiss_file, 'FEW', 0)
    gallery = make_gallery(4000)
    index = make(kind, **arguments)
    index.update(gallery.vectors, gallery.live, list(gallery.images.values()), NONE)
    queries, rows = gallery.vectors[:50].astype(np.float32), np.arange(0, 4000, 20)
    _, right = Exact(tmp_path, 8).search(gallery.vectors, queries, 10, rows, None)

    def recall():
        _, numbers = index.search(gallery.vectors, queries, 10, rows, None)
        return np.mean([np.isin(found, best) for found, best in zip(numbers, right, strict=True)])

    assert recall() > 0.98
    own = type(index).parameters
    monkeypatch.setattr(type(index), 'parameters', lambda self, top, selector, times: own(self, top, selector, 1.0))
    assert recall() < 0.9


@pytest.mark.parametrize(('kind', 'arguments'), [('FaissIVF', {'probes': 1}), ('FaissHNSW', {'search': 1})])
def test_narrow_searches_and_filters_still_return_as_many_images_as_there_are(make, tmp_path, monkeypatch, kind, arguments):  # fmt: skip  # noqa: E501
    monkeypatch.setattr(faiss_file, 'FEW', 5)
    gallery = make_gallery(1000)
    index = make(kind, **arguments)
    index.update(gallery.vectors, gallery.live, list(gallery.images.values()), NONE)
    queries = gallery.vectors[:20].astype(np.float32)
    exact = Exact(tmp_path, 8)
    for rows in (None, np.arange(0, 1000, 90), np.array([3, 900])):
        scores, numbers = index.search(gallery.vectors, queries, 10, rows, None)
        right, _ = exact.search(gallery.vectors, queries, 10, rows, None)
        assert scores.shape == right.shape
        assert (numbers >= 0).all()
        assert (scores <= right + 1e-5).all()
        if rows is not None:
            assert np.isin(numbers, rows).all()
