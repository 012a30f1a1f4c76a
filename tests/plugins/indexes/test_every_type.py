"""What holds for all types of index: they find what a literal loop finds, with the same scores."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from tests.plugins.indexes.conftest import NONE, Image, normalized
from vireid.errors import MissingPackage, UnknownKey, WrongValue
from vireid.plugins.indexes import faiss_file
from vireid.search.entries import Where

TYPES = ('Exact', 'FaissIVF', 'FaissHNSW', 'Qdrant')
QUERIES = normalized(np.random.default_rng(1).standard_normal((3, 8))).astype(np.float32)
WHERES = [
    Where(),
    Where(cameras=('2',)),
    Where(cameras=('0', '4'), modality='infrared'),
    Where(after=datetime(2026, 11, 29, 22, 10)),
    Where(before=datetime(2026, 11, 29, 22, 9, 59)),
    Where(cameras=('1',), after=datetime(2026, 11, 29, 22, 6), before=datetime(2026, 11, 29, 22, 26)),
]


@pytest.fixture(autouse=True)
def _filters_are_pushed_down(monkeypatch):
    monkeypatch.setattr(faiss_file, 'FEW', 0)


def by_hand(gallery, query, rows, top):
    """Scores and numbers by a loop over the images."""
    found = []
    for row in rows.tolist():
        score = sum(float(a) * float(b) for a, b in zip(gallery.vectors[row], query, strict=True))
        found.append((-score, row))
    found.sort()
    return [-score for score, _ in found[:top]], [row for _, row in found[:top]]


def require_same(index, gallery, where, top=6):
    rows = gallery.rows(where)
    asked = None if not where and len(rows) == len(gallery.vectors) else rows
    scores, numbers = index.search(gallery.vectors, QUERIES, top, asked, where)
    assert scores.dtype == np.float32
    assert numbers.shape == (3, min(top, len(rows)))
    for query, own, found in zip(QUERIES, scores, numbers, strict=True):
        right, places = by_hand(gallery, query, rows, top)
        assert found.tolist() == places
        np.testing.assert_allclose(own, right, atol=1e-5)


@pytest.mark.parametrize('kind', TYPES)
def test_all_types_find_the_same_with_every_filter(make, gallery, kind):
    index = make(kind)
    index.update(gallery.vectors, gallery.live, list(gallery.images.values()), NONE)
    for where in WHERES:
        require_same(index, gallery, where)
    require_same(make(kind), gallery, WHERES[0], top=100)  # another process, more than there are


@pytest.mark.parametrize('kind', TYPES)
def test_removed_images_are_found_no_more_and_their_numbers_are_used_again(make, gallery, kind):
    index = make(kind)
    index.update(gallery.vectors, gallery.live, list(gallery.images.values()), NONE)
    _, ((best, *_), *_) = index.search(gallery.vectors, QUERIES, 1, None, Where())
    del gallery.images[best], gallery.images[(best + 1) % 40]
    gone = np.array(sorted([best, (best + 1) % 40]))
    index.update(gallery.vectors, gallery.live, [], gone)
    for where in WHERES[:2]:
        require_same(index, gallery, where)
    gallery.vectors[best] = gallery.vectors[3]  # another image of the same number, at another camera
    gallery.vectors[3] = -gallery.vectors[3]  # and an image that changed
    gallery.images[best] = Image(best, 'visible', '2', '')
    index.update(gallery.vectors, gallery.live, [gallery.images[best], gallery.images[3]], NONE)
    for where in WHERES[:2]:
        require_same(index, gallery, where)


@pytest.mark.parametrize('kind', TYPES)
def test_an_update_can_be_repeated(make, gallery, kind):
    whole, all_images = gallery.vectors, dict(gallery.images)
    gallery.vectors, gallery.images = whole[:30], {row: all_images[row] for row in range(30)}
    make(kind).update(gallery.vectors, gallery.live, list(gallery.images.values()), NONE)
    gallery.vectors, gallery.images = whole, {row: all_images[row] for row in range(1, 40)}
    for _ in range(2):  # killed before the index recorded it
        changed = [all_images[row] for row in range(30, 40)]
        make(kind).update(gallery.vectors, gallery.live, changed, np.array([0]))
        require_same(make(kind), gallery, Where())


@pytest.mark.parametrize('kind', TYPES)
@pytest.mark.parametrize('count', [1, 2])
def test_tiny_galleries(make, gallery, kind, count):
    gallery.vectors, gallery.images = gallery.vectors[:count], {row: gallery.images[row] for row in range(count)}
    index = make(kind)
    index.update(gallery.vectors, gallery.live, list(gallery.images.values()), NONE)
    require_same(index, gallery, Where())
    require_same(index, gallery, Where(cameras=('0',)))


@pytest.mark.parametrize(
    ('kind', 'arguments', 'error', 'fact'),
    [
        ('FaissIVF', {'probes': 0}, WrongValue, 'probes'),
        ('FaissHNSW', {'links': 1}, WrongValue, 'links'),
        ('Qdrant', {'url': 'localhost:6333'}, WrongValue, "url is 'localhost:6333'"),
        ('Exact', {'probes': 3}, UnknownKey, 'probes'),
    ],
)
def test_wrong_arguments(make, kind, arguments, error, fact):
    with pytest.raises(error, match=fact):
        make(kind, **arguments)


@pytest.mark.parametrize(
    ('kind', 'package', 'extra'),
    [('FaissIVF', 'faiss', 'faiss'), ('FaissHNSW', 'faiss', 'faiss'), ('Qdrant', 'qdrant_client', 'qdrant')],
)
def test_a_missing_package_is_told(make, monkeypatch, kind, package, extra):
    monkeypatch.setitem(__import__('sys').modules, package, None)
    with pytest.raises(MissingPackage) as caught:
        make(kind)
    assert caught.value.todo == f'pip install "vireid[{extra}]"'
