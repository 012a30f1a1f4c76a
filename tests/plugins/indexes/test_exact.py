"""Exact: numbers worked out by hand, and a literal loop on random galleries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.plugins.indexes import exact
from vireid.plugins.indexes.exact import Exact


def test_by_hand(tmp_path):
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]], dtype=np.float16)
    queries = np.array([[1, 0], [0, -1]], dtype=np.float32)
    scores, numbers = Exact(tmp_path, 2).search(vectors, queries, 3, None, None)
    assert numbers.tolist() == [[0, 1, 2], [0, 3, 1]]  # of equal scores, the lower number first
    np.testing.assert_allclose(scores, [[1, 0.6, 0], [0, 0, -0.8]], atol=1e-3)
    scores, numbers = Exact(tmp_path, 2).search(vectors, queries, 3, np.array([1, 3]), None)
    assert numbers.tolist() == [[1, 3], [3, 1]]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_it_finds_what_a_loop_finds(data):
    count, length, asked = data.draw(st.tuples(st.integers(1, 30), st.integers(1, 4), st.integers(1, 4)))
    # few values, so that many similarities are equal and exact in float32
    numbers = st.integers(-2, 2)
    vectors = np.array(data.draw(st.lists(st.lists(numbers, min_size=length, max_size=length), min_size=count, max_size=count)), dtype=np.float16)  # fmt: skip  # noqa: E501
    queries = np.array(data.draw(st.lists(st.lists(numbers, min_size=length, max_size=length), min_size=asked, max_size=asked)), dtype=np.float32)  # fmt: skip  # noqa: E501
    rows = data.draw(st.none() | st.sets(st.integers(0, count - 1), min_size=1).map(sorted))
    top, block = data.draw(st.integers(1, 35)), data.draw(st.integers(1, 60))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, 'BLOCK', block * max(length, asked))
        scores, found = Exact(None, length).search(
            vectors, queries, top, None if rows is None else np.array(rows), None
        )
    for query, own, order in zip(queries, scores, found, strict=True):
        every = sorted((-sum(float(a) * float(b) for a, b in zip(vectors[row], query, strict=True)), row) for row in rows or range(count))  # fmt: skip  # noqa: E501
        assert [(-score, row) for score, row in zip(own.tolist(), order.tolist(), strict=True)] == every[:top]


def test_a_mapped_file_larger_than_the_limit_is_released(tmp_path, monkeypatch):
    monkeypatch.setattr(exact, 'UNMAP', 1000)
    monkeypatch.setattr(exact, 'BLOCK', 800)
    whole = np.random.default_rng(0).standard_normal((500, 8)).astype(np.float16)
    (tmp_path / 'v').write_bytes(whole.tobytes())
    mapped = np.memmap(tmp_path / 'v', dtype=np.float16, mode='r', shape=whole.shape)
    queries = whole[:3].astype(np.float32)
    index = Exact(tmp_path, 8)
    for rows in (None, np.arange(0, 500, 3)):
        ours, theirs = (index.search(vectors, queries, 5, rows, None) for vectors in (mapped, whole))
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_more_queries_than_numbers_in_an_embedding(tmp_path, monkeypatch):
    monkeypatch.setattr(exact, 'BLOCK', 128)
    vectors = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float16)
    queries = vectors.astype(np.float32)
    _, numbers = Exact(tmp_path, 4).search(vectors, queries, 50, None, None)
    assert (np.sort(numbers, axis=1) == np.arange(50)).all()
