"""The vectorised scores against a literal loop over queries, against numbers worked out by hand, and their errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vireid.core.scoring import retrieval
from vireid.core.scoring.retrieval import rank_gallery, score, score_similarity
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.errors import Mismatch, NoMatch, NotFinite, TooFew, WrongValue
from vireid.statistics.scores import RANKS, Scores, matched_within

DropsOne = Callable[[Sample, Sample], bool]


@dataclass
class Reference:
    """What the definitions give, worked out one query at a time in plain Python."""

    ranks: list[int]  # of the first match of each valid query, from 1
    average_precisions: list[float]
    inverse_penalties: list[float]

    def cmc(self, k: int) -> float:
        return sum(rank <= k for rank in self.ranks) / len(self.ranks)

    @property
    def mean_ap(self) -> float:
        return sum(self.average_precisions) / len(self.ranks)

    @property
    def mean_inp(self) -> float:
        return sum(self.inverse_penalties) / len(self.ranks)


def reference(similarity: Sequence[Sequence[float]], trial: Trial, drops: DropsOne | None) -> Reference:
    """Scores by the field's definitions, query after query, image after image."""
    found = Reference([], [], [])
    for i, query in enumerate(trial.query):
        left = [j for j, image in enumerate(trial.gallery) if drops is None or not drops(query, image)]
        # sorted() is stable: equal similarities stay in gallery order
        ranked = [trial.gallery[j] for j in sorted(left, key=lambda j: -similarity[i][j])]
        if all(image.identity != query.identity for image in ranked):
            continue  # skipped, not a miss
        if trial.cmc == 'identity':
            persons: list[int] = []
            for image in ranked:
                if image.identity not in persons:
                    persons.append(image.identity)
            found.ranks.append(persons.index(query.identity) + 1)
        else:
            found.ranks.append([image.identity for image in ranked].index(query.identity) + 1)
        matches, precisions, last = 0, [], 0
        for place, image in enumerate(ranked, start=1):
            if image.identity == query.identity:
                matches += 1
                precisions.append(matches / place)
                last = place
        found.average_precisions.append(sum(precisions) / matches)
        found.inverse_penalties.append(matches / last)
    return found


# Each rule twice: on arrays, as a protocol gives it, and on one pair of samples, as one says it.
RULES: dict[str, tuple[Callable | None, DropsOne | None]] = {
    'nothing': (None, None),
    'same place (SYSU-MM01)': (
        lambda qi, qc, gi, gc: (qc == 3) & (gc == 2),
        lambda q, g: q.camera == 3 and g.camera == 2,
    ),
    'same person and camera (LLCM)': (
        lambda qi, qc, gi, gc: (qi == gi) & (qc == gc),
        lambda q, g: q.identity == g.identity and q.camera == g.camera,
    ),
    'whole gallery for camera 1': (
        lambda qi, qc, gi, gc: qc == 1,  # broadcasts: the gallery axis is missing
        lambda q, g: q.camera == 1,
    ),
    'gallery camera 1': (
        lambda qi, qc, gi, gc: gc == 1,  # broadcasts: the query axis is missing
        lambda q, g: g.camera == 1,
    ),
}


def samples(identities: Sequence[int], cameras: Sequence[int], modality: str) -> tuple[Sample, ...]:
    pairs = zip(identities, cameras, strict=True)
    return tuple(Sample(f'{modality}/{n}.jpg', int(i), int(c), modality) for n, (i, c) in enumerate(pairs))


def make_trial(
    query_ids: Sequence[int],
    gallery_ids: Sequence[int],
    query_cameras: Sequence[int] | None = None,
    gallery_cameras: Sequence[int] | None = None,
    *,
    cmc: str = 'identity',
    rule: str = 'nothing',
) -> Trial:
    query = samples(query_ids, query_cameras or [6] * len(query_ids), INFRARED)
    gallery = samples(gallery_ids, gallery_cameras or [1] * len(gallery_ids), VISIBLE)
    return Trial('all', 0, query, gallery, cmc, RULES[rule][0])  # type: ignore[arg-type]


def in_order(similarity: np.ndarray, trial: Trial) -> Scores:
    """Scores as the loop does: ties in gallery order."""
    return score_similarity(lambda rows: similarity[rows].copy(), trial, 'gallery-order')


def random_trial(rng: np.random.Generator, n_query: int, n_gallery: int, n_ids: int, cmc: str, rule: str) -> Trial:
    return make_trial(
        rng.integers(0, n_ids, n_query).tolist(),
        rng.integers(0, n_ids, n_gallery).tolist(),
        rng.integers(1, 5, n_query).tolist(),
        rng.integers(1, 5, n_gallery).tolist(),
        cmc=cmc,
        rule=rule,
    )


def assert_same(scores: Scores, expected: Reference, trial: Trial) -> None:
    assert (scores.queries, scores.valid) == (len(trial.query), len(expected.ranks))
    length = len({g.identity for g in trial.gallery}) if trial.cmc == 'identity' else len(trial.gallery)
    assert scores.cmc.shape == (length,)
    for k in range(1, length + 25):
        assert scores.rank(k) == pytest.approx(expected.cmc(k), abs=1e-10)
    assert scores.mean_ap == pytest.approx(expected.mean_ap, abs=1e-10)
    assert scores.mean_inp == pytest.approx(expected.mean_inp, abs=1e-10)


def check(similarity: np.ndarray, trial: Trial, rule: str, run: Callable[[], Scores]) -> None:
    """Compares `run()` with the reference; where no query has a match it must say so."""
    expected = reference(similarity.tolist(), trial, RULES[rule][1])
    if expected.ranks:
        assert_same(run(), expected, trial)
    else:
        with pytest.raises(NoMatch, match=f'{len(trial.query)} '):
            run()


@st.composite
def cases(draw: st.DrawFn, most: int = 20) -> tuple[Trial, str, int]:
    """Small trials of every kind, with the name of their drop rule and a chunk size in pairs.

    Args:
        draw: of hypothesis.
        most: gallery images.
    """
    n_query, n_gallery = draw(st.integers(1, 7)), draw(st.integers(2, most))
    ids = st.integers(0, draw(st.integers(1, 6)))
    cameras = st.integers(1, 4)
    rule = draw(st.sampled_from(sorted(RULES)))
    trial = make_trial(
        draw(st.lists(ids, min_size=n_query, max_size=n_query)),
        draw(st.lists(ids, min_size=n_gallery, max_size=n_gallery).filter(lambda found: len(set(found)) > 1)),
        draw(st.lists(cameras, min_size=n_query, max_size=n_query)),
        draw(st.lists(cameras, min_size=n_gallery, max_size=n_gallery)),
        cmc=draw(st.sampled_from(['identity', 'image'])),
        rule=rule,
    )
    return trial, rule, draw(st.integers(1, n_query * n_gallery))


def grids(rows: int, columns: int, values: st.SearchStrategy) -> st.SearchStrategy:
    row = st.lists(values, min_size=columns, max_size=columns)
    return st.lists(row, min_size=rows, max_size=rows).map(np.array)


dtypes = st.sampled_from([np.float32, np.float64])


class TestAgainstTheLoop:
    @settings(max_examples=100)
    @given(st.data(), cases(), dtypes)
    def test_tied_similarities(self, data: st.DataObject, case: tuple[Trial, str, int], dtype: type) -> None:
        trial, rule, pairs = case
        spread = data.draw(st.integers(0, 3))
        values = st.integers(-spread, spread)
        similarity = data.draw(grids(len(trial.query), len(trial.gallery), values)).astype(dtype)
        with mock.patch.object(retrieval, 'PAIRS_PER_CHUNK', pairs):
            check(similarity, trial, rule, lambda: in_order(similarity, trial))

    @settings(max_examples=100)
    @given(st.data(), cases(), dtypes)
    def test_any_finite_similarities(self, data: st.DataObject, case: tuple[Trial, str, int], dtype: type) -> None:
        trial, rule, pairs = case
        values = st.floats(allow_nan=False, allow_infinity=False, width=32)  # both zeros and denormals among them
        similarity = data.draw(grids(len(trial.query), len(trial.gallery), values)).astype(dtype)
        with mock.patch.object(retrieval, 'PAIRS_PER_CHUNK', pairs):
            check(similarity, trial, rule, lambda: in_order(similarity, trial))

    @settings(max_examples=100)
    @given(st.data(), cases(), dtypes)
    def test_embeddings(self, data: st.DataObject, case: tuple[Trial, str, int], dtype: type) -> None:
        # quarters: every inner product is exact in either type, so ties stay ties on any machine
        trial, rule, pairs = case
        width = data.draw(st.integers(1, 3))
        quarters = st.integers(-8, 8)
        query = data.draw(grids(len(trial.query), width, quarters)) / 4
        gallery = data.draw(grids(len(trial.gallery), width, quarters)) / 4
        inner = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in gallery.tolist()] for x in query.tolist()]
        with mock.patch.object(retrieval, 'PAIRS_PER_CHUNK', pairs):
            check(
                np.array(inner),
                trial,
                rule,
                lambda: score(query.astype(dtype), gallery.astype(dtype), trial, 'gallery-order'),
            )

    @pytest.mark.parametrize('rule', RULES)
    @pytest.mark.parametrize('cmc', ['identity', 'image'])
    @pytest.mark.parametrize('dtype', [np.float32, np.float64])
    def test_a_hundred_images(self, dtype: type, cmc: str, rule: str) -> None:
        rng = np.random.default_rng(7)
        trial = random_trial(rng, 60, 100, 30, cmc, rule)
        similarity = rng.standard_normal((60, 100)).astype(dtype)
        expected = reference(similarity.tolist(), trial, RULES[rule][1])
        assert_same(in_order(similarity, trial), expected, trial)

    @pytest.mark.parametrize('cmc', ['identity', 'image'])
    @pytest.mark.parametrize('pairs', [1, 99, 100, 101, 700, 10**6])
    def test_any_chunk_size(self, pairs: int, cmc: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retrieval, 'PAIRS_PER_CHUNK', pairs)
        rng = np.random.default_rng(1)
        trial = random_trial(rng, 60, 100, 40, cmc, 'same place (SYSU-MM01)')
        query, gallery = rng.integers(-3, 4, (60, 16)) / 4.0, rng.integers(-3, 4, (100, 16)) / 4.0
        expected = reference((query @ gallery.T).tolist(), trial, RULES['same place (SYSU-MM01)'][1])
        assert_same(score(query, gallery, trial, 'gallery-order'), expected, trial)

    @pytest.mark.parametrize('cmc', ['identity', 'image'])
    def test_sysu_shape_with_a_missing_camera(self, cmc: str) -> None:
        # 12 identities in cameras 1, 2, 4, 5; person 0 was seen by camera 2 only, person 1 never by camera 2
        cells = [(p, c) for p in range(12) for c in (1, 2, 4, 5) if (p, c == 2) != (1, True) and (p or c == 2)]
        trial = make_trial(
            [p for p in range(12) for _ in range(4)],
            [p for p, _ in cells],
            [3, 3, 6, 6] * 12,
            [c for _, c in cells],
            cmc=cmc,
            rule='same place (SYSU-MM01)',
        )
        similarity = np.random.default_rng(3).standard_normal((48, len(cells)))
        expected = reference(similarity.tolist(), trial, RULES['same place (SYSU-MM01)'][1])
        scores = in_order(similarity, trial)
        assert scores.valid == 46  # camera 3's two queries of person 0 lose all matches
        assert_same(scores, expected, trial)

    @settings(max_examples=40)
    @given(st.data(), cases())
    def test_dropped_images_might_as_well_not_be_there(self, data: st.DataObject, case: tuple[Trial, str, int]) -> None:
        trial, _, _ = case
        stays = [j for j, image in enumerate(trial.gallery) if image.camera != 1]
        assume({trial.gallery[j].identity for j in stays} & {q.identity for q in trial.query})
        assume(len({trial.gallery[j].identity for j in stays}) > 1)
        similarity = data.draw(grids(len(trial.query), len(trial.gallery), st.integers(-2, 2))).astype(float)
        whole = Trial('all', 0, trial.query, trial.gallery, trial.cmc, RULES['gallery camera 1'][0])
        less = Trial('all', 0, trial.query, tuple(trial.gallery[j] for j in stays), trial.cmc)
        a = score_similarity(lambda rows: similarity[rows].copy(), whole)
        b = score_similarity(lambda rows: similarity[rows][:, stays], less)
        assert (a.mean_ap, a.mean_inp, a.valid) == pytest.approx((b.mean_ap, b.mean_inp, b.valid), abs=1e-12)
        assert [a.rank(k) for k in range(1, 22)] == pytest.approx([b.rank(k) for k in range(1, 22)], abs=1e-12)


class TestByHand:
    """Four queries, five gallery images.

    gallery     g0  g1  g2  g3  g4
    identity     1   2   1   3   2
    camera       1   1   2   1   2
    """

    # queries: identity 1, camera 6; identity 2, camera 3 (drops g2 and g4); identity 3, camera 6; identity 2, camera 6
    SIMILARITY = np.array(
        [
            [0.1, 0.9, -0.7, -0.2, 0.5],  # g1 g4 g0 g3 g2
            [-0.3, 0.2, 0.8, -0.9, 0.6],  # g2 g4 g1 g0 g3, after the drop g1 g0 g3
            [0.9, 0.7, 0.8, 0.5, 0.6],  # g0 g2 g1 g4 g3
            [0.4, 0.4, 0.4, 0.4, 0.4],  # g0 g1 g2 g3 g4, ties in gallery order
        ]
    )

    def scored(self, cmc: str, rule: str = 'same place (SYSU-MM01)') -> Scores:
        trial = make_trial([1, 2, 3, 2], [1, 2, 1, 3, 2], [6, 3, 6, 6], [1, 1, 2, 1, 2], cmc=cmc, rule=rule)
        return score(self.SIMILARITY, np.eye(5), trial, 'gallery-order')

    def test_identity_level_cmc(self) -> None:
        # identities in order: 2 1 3 -> rank 2; 2 1 3 -> rank 1; 1 2 3 -> rank 3; 1 2 3 -> rank 2
        assert self.scored('identity').cmc.tolist() == [1 / 4, 3 / 4, 1]

    def test_image_level_cmc(self) -> None:
        # identities in order: 2 2 1 3 1 -> rank 3; 2 1 3 -> rank 1; 1 1 2 2 3 -> rank 5; 1 2 1 3 2 -> rank 2
        assert self.scored('image').cmc.tolist() == [1 / 4, 2 / 4, 3 / 4, 3 / 4, 1]

    @pytest.mark.parametrize('cmc', ['identity', 'image'])
    def test_map_is_image_level_either_way(self, cmc: str) -> None:
        # matches at 3 and 5: (1/3 + 2/5) / 2 = 11/30; at 1: 1; at 5: 1/5; at 2 and 5: (1/2 + 2/5) / 2 = 9/20
        mean = (Fraction(11, 30) + 1 + Fraction(1, 5) + Fraction(9, 20)) / 4
        assert mean == Fraction(121, 240)
        assert self.scored(cmc).mean_ap == pytest.approx(float(mean), abs=1e-15)

    @pytest.mark.parametrize('cmc', ['identity', 'image'])
    def test_minp_is_image_level_either_way(self, cmc: str) -> None:
        # matches / last match: 2/5, 1/1, 1/5, 2/5; their mean is 1/2
        assert self.scored(cmc).mean_inp == pytest.approx(1 / 2, abs=1e-15)

    def test_without_the_drop_the_second_query_meets_camera_2(self) -> None:
        # query 1: g2 g4 g1 g0 g3, identities 1 2 2 1 3 -> image rank 2, person rank 2
        assert self.scored('image', 'nothing').cmc.tolist() == [0, 2 / 4, 3 / 4, 3 / 4, 1]
        assert self.scored('identity', 'nothing').cmc.tolist() == [0, 3 / 4, 1]
        # its AP is (1/2 + 2/3) / 2 = 7/12 and its INP 2/3
        assert self.scored('image', 'nothing').mean_ap == pytest.approx((11 / 30 + 7 / 12 + 1 / 5 + 9 / 20) / 4)
        assert self.scored('image', 'nothing').mean_inp == pytest.approx((2 / 5 + 2 / 3 + 1 / 5 + 2 / 5) / 4)

    def test_queries_without_a_match_are_skipped(self) -> None:
        # identity 9 is not in the gallery; camera 3's identity 5 is there by camera 2 only, which it drops
        trial = make_trial([9, 1, 5], [1, 5], [6, 6, 3], [1, 2], rule='same place (SYSU-MM01)')
        scores = score_similarity(lambda rows: np.array([[1.0, 0], [0, 1], [0, 1]])[rows], trial)
        assert (scores.queries, scores.valid) == (3, 1)
        assert scores.cmc.tolist() == [0, 1]
        assert (scores.mean_ap, scores.mean_inp) == (1 / 2, 1 / 2)

    def test_lists_of_one_identity_after_the_drop(self) -> None:
        # identity 5 is there by camera 2 only, which camera 3 drops
        trial = make_trial([4, 4], [4, 4, 5], [3, 3], [1, 1, 2], rule='same place (SYSU-MM01)')
        scores = score_similarity(lambda rows: np.array([[1.0, 2, 3], [-1, -2, -3]])[rows], trial)
        assert scores.cmc.tolist() == [1, 1]
        assert (scores.mean_ap, scores.mean_inp) == (1, 1)

    def test_a_list_of_one(self) -> None:
        trial = make_trial([3], [3, 4], [3], [1, 2], cmc='image', rule='same place (SYSU-MM01)')
        scores = score(np.array([[-1.0]]), np.array([[1.0], [-1.0]]), trial)
        assert (scores.cmc.tolist(), scores.mean_ap, scores.mean_inp) == ([1, 1], 1, 1)


class TestRanks:
    def test_rank_past_the_end_is_the_last_value(self) -> None:
        scores = score_similarity(lambda rows: np.array([[0.0, 1]])[rows], make_trial([1], [1, 2]))
        assert [scores.rank(k) for k in (1, 2, 3, 20, 1000)] == [0, 1, 1, 1, 1]

    def test_ranked_lists_end_with_what_is_dropped(self) -> None:
        trial = make_trial([1, 1], [1, 2, 3, 4], [3, 6], [2, 1, 2, 1], rule='same place (SYSU-MM01)')
        order, kept = rank_gallery(np.array([[9.0, 1, 8, 2], [1, 1, 2, 1]]), trial)
        assert kept.tolist() == [2, 4]
        assert order[0, :2].tolist() == [3, 1]
        assert sorted(order[0, 2:].tolist()) == [0, 2]
        assert order[1].tolist() == [2, 0, 1, 3]

    def test_ranks_part_of_the_queries(self) -> None:
        trial = make_trial([1, 1, 1], [1, 2], [3, 6, 3], [2, 1], rule='same place (SYSU-MM01)')
        order, kept = rank_gallery(np.array([[2.0, 1], [2, 1]]), trial, slice(1, 3))
        assert kept.tolist() == [2, 1]
        assert order.tolist() == [[0, 1], [1, 0]]

    def test_both_zeros_tie(self) -> None:
        order, _ = rank_gallery(np.array([[0.0, -0.0, 0.0, -0.0]], dtype=np.float32), make_trial([1], [1, 2, 3, 4]))
        assert order.tolist() == [[0, 1, 2, 3]]

    def test_similarities_are_asked_for_a_chunk_of_queries_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retrieval, 'PAIRS_PER_CHUNK', 7)  # 2 queries against 3 images
        asked = []

        def similarity(rows: slice) -> np.ndarray:
            asked.append((rows.start, rows.stop))
            return np.zeros((rows.stop - rows.start, 3))

        score_similarity(similarity, make_trial([1, 2, 3, 1, 2], [1, 2, 3]))
        assert asked == [(0, 2), (2, 4), (4, 5)]


@pytest.mark.parametrize('pairs', [1, 17, 40, 100, 10_000])
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_equal_embeddings_tie_whatever_the_matrix_product_rounds(
    pairs: int, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, 'PAIRS_PER_CHUNK', pairs)
    rng = np.random.default_rng(0)
    twin = rng.standard_normal(512).astype(dtype)
    gallery = np.tile(twin / np.linalg.norm(twin), (17, 1))
    query = rng.standard_normal((37, 512)).astype(dtype)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    trial = make_trial([5] * 37, list(range(17)))
    # all 17 tie: in the gallery's order person 5 comes sixth
    assert score(query, gallery, trial, 'gallery-order').mean_ap == pytest.approx(1 / 6, abs=1e-12)
    assert score(query, gallery, trial).mean_ap == pytest.approx(sum(1 / n for n in range(1, 18)) / 17, abs=1e-12)


def over_all_orders(similarity: np.ndarray, trial: Trial, rule: str) -> list[Reference]:
    """The loop on every order of the gallery: those of ties are equally frequent among them."""
    found = []
    for order in itertools.permutations(range(len(trial.gallery))):
        turned = replace(trial, gallery=tuple(trial.gallery[j] for j in order))
        found.append(reference(similarity[:, order].tolist(), turned, RULES[rule][1]))
    return found


class TestTies:
    @settings(max_examples=120)
    @given(st.data(), cases(most=6), dtypes)
    def test_metrics_are_means_over_all_orders(
        self, data: st.DataObject, case: tuple[Trial, str, int], dtype: type
    ) -> None:
        trial, rule, pairs = case
        spread = data.draw(st.integers(0, 2))
        values = st.integers(-spread, spread)
        similarity = data.draw(grids(len(trial.query), len(trial.gallery), values)).astype(dtype)
        orders = over_all_orders(similarity, trial, rule)
        assume(orders[0].ranks)
        with mock.patch.object(retrieval, 'PAIRS_PER_CHUNK', pairs):
            scores = score_similarity(lambda rows: similarity[rows].copy(), trial)
        ranks = np.array([found.ranks for found in orders])
        for k in range(1, 9):
            assert scores.rank(k) == pytest.approx((ranks <= k).mean(), abs=1e-12)
        length = len({g.identity for g in trial.gallery}) if trial.cmc == 'identity' else len(trial.gallery)
        assert scores.cmc == pytest.approx([scores.rank(k) for k in range(1, length + 1)], abs=1e-12)
        for k in RANKS:
            assert matched_within(scores.columns(), k) == pytest.approx((ranks <= k).mean(axis=0), abs=1e-12)
        assert scores.ahead == pytest.approx(ranks.mean(axis=0) - 1, abs=1e-12)
        ap, inp = (np.array([getattr(f, name) for f in orders]) for name in ('average_precisions', 'inverse_penalties'))
        assert scores.ap == pytest.approx(ap.mean(axis=0), abs=1e-12)
        assert scores.inp == pytest.approx(inp.mean(axis=0), abs=1e-12)
        assert scores.tied.tolist() == (np.ptp(ap, axis=0) > 1e-9).tolist()

    @pytest.mark.parametrize('cmc', ['identity', 'image'])
    @pytest.mark.parametrize('rule', RULES)
    def test_without_ties_that_matter_all_arrays_are_those_of_the_stable_sort(self, cmc: str, rule: str) -> None:
        rng = np.random.default_rng(2)
        trial = random_trial(rng, 60, 40, 15, cmc, rule)
        similarity = rng.standard_normal((60, 40)).astype(np.float32)
        person = np.array([g.identity for g in trial.gallery])
        for row, query in zip(similarity, trial.query, strict=True):  # the matches of a query tie, and two others do
            row[person == query.identity] = 0.5
            row[np.flatnonzero(person != query.identity)[:2]] = 0.25
        found, stable = score_similarity(lambda rows: similarity[rows].copy(), trial), in_order(similarity, trial)
        assert found.ties is None
        assert not found.tied.any()
        for name in ('identities', 'ahead', 'ap', 'inp', 'cmc'):
            mine, theirs = getattr(found, name), getattr(stable, name)
            assert (mine.dtype, mine.tobytes()) == (theirs.dtype, theirs.tobytes())
        assert found.ahead.dtype == np.int64
        expected = reference(similarity.tolist(), trial, RULES[rule][1])
        assert found.ahead.tolist() == [rank - 1 for rank in expected.ranks]
        assert found.inp.tolist() == expected.inverse_penalties
        assert found.ap == pytest.approx(expected.average_precisions, rel=1e-15)

    def test_a_query_without_ties_keeps_its_bits_beside_one_with(self) -> None:
        rng = np.random.default_rng(5)
        trial = random_trial(rng, 50, 40, 9, 'identity', 'nothing')
        similarity = rng.standard_normal((50, 40))
        similarity[::2] = similarity[::2].round()
        found, stable = score_similarity(lambda rows: similarity[rows].copy(), trial), in_order(similarity, trial)
        assert found.tied.tolist() == stable.tied.tolist()
        assert 0 < found.tied.sum() < 26
        for name in ('ahead', 'ap', 'inp'):
            assert np.array_equal(getattr(found, name)[~found.tied], getattr(stable, name)[~found.tied])

    def test_by_hand(self) -> None:
        # the query is 1. Ranked: person 2; then a tie of 1, 2, 3, 3; then a tie of 1, 4; the last is dropped, and ties
        trial = make_trial([1], [2, 1, 2, 3, 3, 1, 4, 1], [3], [1, 1, 1, 1, 1, 1, 1, 2], rule='same place (SYSU-MM01)')
        scores = score_similarity(lambda rows: np.array([[9.0, 5, 5, 5, 5, 2, 2, 5]]), trial)
        # the first match is 2nd to 5th, each at 1/4; the other is 6th or 7th
        first = (Fraction(1, 2) + Fraction(1, 3) + Fraction(1, 4) + Fraction(1, 5)) / 4
        other = (Fraction(2, 6) + Fraction(2, 7)) / 2
        assert scores.mean_ap == pytest.approx(float((first + other) / 2), abs=1e-15)
        assert scores.mean_inp == pytest.approx(float(other), abs=1e-15)
        # 2 is ahead anyway; 3 is, with two images, unless the match comes first of three: at 2/3
        assert scores.cmc == pytest.approx([0, 1 / 3, 1, 1], abs=1e-15)
        assert scores.ahead == pytest.approx([1 + 2 / 3], abs=1e-15)
        images = score_similarity(lambda rows: np.array([[9.0, 5, 5, 5, 5, 2, 2, 5]]), replace(trial, cmc='image'))
        assert images.cmc == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 1, 1], abs=1e-15)
        assert images.ahead == pytest.approx([2.5], abs=1e-15)

    @pytest.mark.parametrize('cmc', ['identity', 'image'])
    def test_constant_embeddings_score_what_chance_scores(self, cmc: str) -> None:
        rng = np.random.default_rng(11)
        trial = random_trial(rng, 30, 60, 12, cmc, 'same place (SYSU-MM01)')
        found = score(np.ones((30, 8), np.float32), np.ones((60, 8), np.float32), trial)
        drawn = [in_order(rng.random((30, 60)), trial) for _ in range(2000)]
        assert found.tied.all()
        for of in (lambda s: s.mean_ap, lambda s: s.mean_inp, *(lambda s, k=k: s.rank(k) for k in (1, 3, 5, 10))):
            values = [of(s) for s in drawn]
            assert of(found) == pytest.approx(np.mean(values), abs=4 * np.std(values) / 2000**0.5)

    def test_the_setting_has_two_values(self) -> None:
        with pytest.raises(WrongValue, match="'gallery order'") as raised:
            score(np.ones((1, 2)), np.ones((2, 2)), make_trial([1], [1, 2]), 'gallery order')  # type: ignore[arg-type]
        assert (raised.value.path, raised.value.allowed) == ('evaluation.ties', "'mean', 'gallery-order'")


class TestErrors:
    @pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize('side', [0, 1])
    def test_embeddings_that_are_not_finite(self, side: int, bad: float) -> None:
        embeddings = [np.ones((2, 3)), np.ones((2, 3))]
        embeddings[side][1, 2] = bad
        with pytest.raises(NotFinite, match='all') as raised:
            score(*embeddings, make_trial([1, 2], [1, 2]))
        assert '--precision 32-true' in raised.value.todo

    @pytest.mark.parametrize(('rows', 'columns'), [(3, 2), (2, 3), (0, 2), (2, 0)])
    def test_sizes_that_do_not_fit(self, rows: int, columns: int) -> None:
        with pytest.raises(Mismatch, match=f'all: {rows} query .*{columns} gallery .*2 .*2 images'):
            score(np.ones((rows, 4)), np.ones((columns, 4)), make_trial([1, 2], [1, 2]))

    @pytest.mark.parametrize(('n_query', 'n_gallery'), [(0, 2), (2, 0), (0, 0)])
    def test_empty_query_or_gallery(self, n_query: int, n_gallery: int) -> None:
        trial = make_trial([1] * n_query, [1] * n_gallery)
        with pytest.raises(TooFew, match=f'all, trial 0: {n_query} query .*{n_gallery} gallery'):
            score(np.ones((n_query, 4)), np.ones((n_gallery, 4)), trial)

    def test_a_gallery_of_one_identity(self) -> None:
        with pytest.raises(TooFew, match=r'all, trial 0: .*3 images.* identity 2'):
            score(np.ones((2, 4)), np.ones((3, 4)), make_trial([1, 2], [2, 2, 2]))

    @pytest.mark.parametrize('pairs', [1, 1000])
    def test_no_query_with_a_match(self, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retrieval, 'PAIRS_PER_CHUNK', pairs)
        with pytest.raises(NoMatch, match=r'all, trial 0: .*2 queries'):
            score(np.ones((2, 4)), np.ones((3, 4)), make_trial([1, 2], [3, 4, 5]))

    def test_everything_dropped(self) -> None:
        trial = make_trial([1, 2], [1, 2], [1, 1], rule='whole gallery for camera 1')
        with pytest.raises(NoMatch, match='2 queries'):
            score(np.ones((2, 4)), np.ones((2, 4)), trial)
