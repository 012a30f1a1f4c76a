"""k-reciprocal re-ranking equals its definition, written out with sets and loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.core.scoring.embedding import score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.errors import WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.rerankers import k_reciprocal
from vireid.plugins.rerankers.k_reciprocal import KReciprocal


def by_definition(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, weight: float) -> np.ndarray:
    """The new distance of every query to every gallery image, one image at a time."""
    features = [*query, *gallery]
    total = range(len(features))
    plain = [[max(0.0, 2 - 2 * float(np.dot(a, b))) for b in features] for a in features]
    plain = [[value / (max(row) or 1) for value in row] for row in plain]
    # an image is its own nearest neighbor; the others are sorted by distance, then by index
    order = [sorted(total, key=lambda j, i=i: (j != i, plain[i][j], j)) for i in total]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    vectors = []
    for i in total:
        near = reciprocal(i, k1)
        widened = set(near)
        for j in near:
            half = reciprocal(j, round(k1 / 2))
            if len(half & near) > 2 / 3 * len(half):
                widened |= half
        weights = {j: math.exp(-plain[i][j]) for j in widened}
        vectors.append([weights.get(j, 0.0) / sum(weights.values()) for j in total])
    averaged = [[float(np.mean([vectors[n][j] for n in order[i][:k2]])) for j in total] for i in total]
    found = np.zeros((len(query), len(gallery)))
    for q in range(len(query)):
        for g in range(len(gallery)):
            a, b = averaged[q], averaged[len(query) + g]
            shared = sum(min(x, y) for x, y in zip(a, b, strict=True))
            union = sum(max(x, y) for x, y in zip(a, b, strict=True))
            found[q, g] = (1 - weight) * (1 - shared / union) + weight * plain[q][len(query) + g]
    return found


def people(rng: np.random.Generator, queries: int, gallery: int, dim: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """L2-normalized embeddings of a few identities, with noise."""
    identities = rng.standard_normal((5, dim))
    found = []
    for count in (queries, gallery):
        raw = identities[rng.integers(5, size=count)] + 0.8 * rng.standard_normal((count, dim))
        found.append(raw / np.linalg.norm(raw, axis=1, keepdims=True))
    return found[0], found[1]


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize(('k1', 'k2', 'weight'), [(20, 6, 0.3), (6, 3, 0.3), (5, 1, 0.0), (3, 2, 1.0), (1, 1, 0.5)])
def test_it_is_the_definition(seed: int, k1: int, k2: int, weight: float) -> None:
    query, gallery = people(np.random.default_rng(seed), 17, 31)
    found = -KReciprocal(k1, k2, weight).similarity(query, gallery)(slice(0, 17))
    assert found == pytest.approx(by_definition(query, gallery, k1, k2, weight), abs=1e-10)


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 30), st.integers(1, 30), st.integers(0, 1000))
def test_few_images_many_neighbors_and_twins(queries: int, gallery: int, k1: int, k2: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # multiples of a quarter turn: many images are equal, and distances are exactly 0, 2 and 4
    corners = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    q, g = corners[rng.integers(4, size=queries)], corners[rng.integers(4, size=gallery)]
    found = -KReciprocal(k1, k2).similarity(q, g)(slice(0, queries))
    assert found == pytest.approx(by_definition(q, g, k1, k2, 0.3), abs=1e-10)


def test_float32_differs_by_rounding_only() -> None:
    query, gallery = people(np.random.default_rng(0), 40, 60)
    exact = KReciprocal(6, 3).similarity(query, gallery)(slice(0, 40))
    found = KReciprocal(6, 3).similarity(query.astype(np.float32), gallery.astype(np.float32))(slice(0, 40))
    assert found.dtype == np.float32
    assert found == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize(('elements', 'pairs'), [(1, 1), (400, 7), (10_000, 500)])
def test_chunks_change_nothing(elements: int, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery = people(np.random.default_rng(1), 23, 31)
    whole = KReciprocal(6, 3).similarity(query, gallery)(slice(0, 23))
    monkeypatch.setattr(k_reciprocal, 'ELEMENTS', elements)
    monkeypatch.setattr(k_reciprocal, 'PAIRS', pairs)
    similarity = KReciprocal(6, 3).similarity(query, gallery)
    parts = [similarity(slice(start, min(23, start + 5))) for start in range(0, 23, 5)]
    assert np.concatenate(parts) == pytest.approx(whole, abs=1e-12)


def test_all_of_the_plain_distance_ranks_as_before() -> None:
    query, gallery = people(np.random.default_rng(2), 9, 14)
    found = KReciprocal(weight=1.0).similarity(query, gallery)(slice(0, 9))
    assert (np.argsort(-found) == np.argsort(-(query @ gallery.T))).all()


def test_shared_neighbors_bring_an_identity_before_a_nearer_stranger() -> None:
    # the query is at 0 degrees, its identity at 25 and 35, another at -20, whose neighbors are far away
    angles = {0: 25, 1: 35, 2: -20, 3: -50, 4: -60}
    gallery = tuple(Sample(f'g{n}', 1 if n < 2 else 2, 1, VISIBLE) for n in angles)
    query = Sample('q', 1, 3, INFRARED)
    features = np.array([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in (*angles.values(), 0)])
    trial = Trial('all', 0, (query,), gallery)
    results = score_trials(Embeddings((*gallery, query), features), 'p', [trial], reranker=KReciprocal(3, 1))
    # original ranking: the other identity, then two matches: precisions 1/2 and 2/3
    assert results.scores[0].mean_ap == pytest.approx((1 / 2 + 2 / 3) / 2)
    ((name, (found,)),) = results.variants.items()
    assert name == 're-ranked (3, 1, 0.3)'
    assert found.mean_ap == 1


@pytest.mark.parametrize('settings', [{'k1': 0}, {'k2': 0}, {'weight': -0.1}, {'weight': 1.1}])
def test_settings_out_of_range_are_refused(settings: dict) -> None:
    with pytest.raises(WrongValue, match=' is '.join(map(str, *settings.items()))):
        create_manager().components.build('rerankers', {'type': 'KReciprocal', **settings}, where='rerank')
