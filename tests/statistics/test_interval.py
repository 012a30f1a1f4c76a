"""The interval over identities: numbers worked out by hand, a literal loop, what holds for any results, errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vireid.errors import Mismatch, WrongValue
from vireid.statistics.interval import identity_interval


def reference(values: Sequence[float], identities: Sequence[int], confidence: float = 0.95) -> tuple[float, float]:
    """The docstring's formulas, one identity after the other."""
    people = sorted(set(identities))
    n, total, mean = len(people), len(values), sum(values) / len(values)
    if n == 1:
        return 0.0, 1.0
    squares = 0.0
    for person in people:
        own = [value for value, identity in zip(values, identities, strict=True) if identity == person]
        squares += (sum(own) - mean * len(own)) ** 2
    k: float = n
    if 0 < mean < 1:
        v = squares * n / ((n - 1) * total**2)
        d = n - 0.5
        u = ((n - 1) * v + 0.5 * mean * (1 - mean) / n) / d
        upper = (1 + confidence) / 2
        k = mean * (1 - mean) / u * (stats.norm.ppf(upper) / stats.t.ppf(upper, d)) ** 2
    low, high = stats.beta(k * mean + 0.5, k * (1 - mean) + 0.5).interval(confidence)
    return (0.0 if mean == 0 else min(low, mean)), (1.0 if mean == 1 else max(high, mean))


@st.composite
def results(draw: st.DrawFn, least_people: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Values of 1 to 12 people with 1 to 6 queries each; hits, or eighths, whose sums are exact."""
    counts = draw(st.lists(st.integers(1, 6), min_size=least_people, max_size=12))
    step = draw(st.sampled_from([1, 8]))
    values = [draw(st.integers(0, step)) / step for _ in range(sum(counts))]
    return np.array(values, dtype=np.float64), np.repeat(np.arange(len(counts)) * 7 - 3, counts)


def width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


def test_three_people_by_hand():
    # sums 2, 0, 1 of 3, 1, 2 queries: p = 1/2, residuals 1/2, -1/2, 0, so v = 1/2 * 3/2 / 36 = 1/48,
    # u = (2/48 + 1/2 * 1/4 / 3) / 2.5 = 1/30, and p (1 - p) / u = 7.5
    low, high = identity_interval(np.array([1.0, 1, 0, 0, 1, 0]), np.array([5, 5, 5, 2, 9, 9]))
    k = 7.5 * (1.959964 / stats.t.ppf(0.975, 2.5)) ** 2
    assert (low, high) == pytest.approx(stats.beta(k / 2 + 0.5, k / 2 + 0.5).interval(0.95), abs=1e-6)
    assert low + high == pytest.approx(1)


@pytest.mark.parametrize(('people', 'low'), [(2, 0.3331), (9, 0.7624), (80, 0.9692)])
def test_all_right_is_jeffreys_interval_of_as_many_identities(people: int, low: float):
    identities = np.repeat(np.arange(people), 6)
    assert stats.beta(people + 0.5, 0.5).ppf(0.025) == pytest.approx(low, abs=1e-4)
    assert identity_interval(np.ones(6 * people), identities) == pytest.approx((low, 1), abs=1e-4)
    assert identity_interval(np.zeros(6 * people), identities) == pytest.approx((0, 1 - low), abs=1e-4)


@given(results(), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_equals_a_literal_loop(found: tuple[np.ndarray, np.ndarray], confidence: float):
    values, identities = found
    expected = reference(values.tolist(), identities.tolist(), confidence)
    assert identity_interval(values, identities, confidence) == pytest.approx(expected, abs=1e-9)


@given(results())
def test_holds_the_mean_and_stays_within_0_and_1(found: tuple[np.ndarray, np.ndarray]):
    low, high = identity_interval(*found)
    assert 0 <= low <= found[0].mean() <= high <= 1
    assert high - low > 0.01  # of at most 12 people


@given(results(), st.randoms(use_true_random=False))
def test_order_and_numbers_of_identities_do_not_matter(found: tuple[np.ndarray, np.ndarray], random):
    values, identities = found
    order = random.sample(range(len(values)), len(values))
    assert identity_interval(values[order], 100 - identities[order]) == pytest.approx(
        identity_interval(values, identities), abs=1e-9
    )


@given(results(), st.integers(2, 5))
def test_the_same_trial_again_does_not_narrow_it(found: tuple[np.ndarray, np.ndarray], times: int):
    values, identities = found
    again = identity_interval(np.tile(values, times), np.tile(identities, times))
    assert again == pytest.approx(identity_interval(values, identities), abs=1e-9)


@given(results(least_people=2), st.integers(2, 5))
def test_fewer_identities_with_the_same_results_make_it_wider(found: tuple[np.ndarray, np.ndarray], times: int):
    values, identities = found
    others = np.concatenate([identities + 1000 * copy for copy in range(times)])
    assert width(identity_interval(values, identities)) > width(identity_interval(np.tile(values, times), others))


@given(results())
def test_misses_mirror_hits(found: tuple[np.ndarray, np.ndarray]):
    low, high = identity_interval(*found)
    assert identity_interval(1 - found[0], found[1]) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(results(least_people=2))
def test_more_confidence_makes_it_wider(found: tuple[np.ndarray, np.ndarray]):
    assert width(identity_interval(*found, 0.99)) > width(identity_interval(*found, 0.8))


def test_queries_of_one_person_that_agree_count_once():
    values = np.repeat([1.0, 0, 1, 1, 0, 1], 10)
    clustered = identity_interval(values, np.repeat(np.arange(6), 10))
    assert clustered == pytest.approx(identity_interval(values[::10], np.arange(6)), abs=1e-9)
    assert width(clustered) > 2 * width(identity_interval(values, np.arange(60)))


def test_one_identity_says_nothing():
    assert identity_interval(np.array([1.0, 1, 0]), np.array([4, 4, 4])) == (0, 1)


def test_identities_that_are_all_alike_still_leave_doubt():
    low, high = identity_interval(np.full(54, 0.8), np.repeat(np.arange(9), 6))
    assert low < 0.75
    assert high > 0.85


def test_what_differs_from_certain_by_rounding_only_is_certain():
    identities = np.repeat(np.arange(9), 6)
    almost = identity_interval(np.full(54, np.nextafter(1, 0)), identities)
    assert almost == pytest.approx(identity_interval(np.ones(54), identities), abs=1e-3)


def test_holds_the_truth_about_as_often_as_it_says():
    # people differ in how often they are found, uniformly around 0.7, and in their number of queries
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        identities = np.repeat(np.arange(12), rng.integers(2, 9, size=12))
        values = (rng.random(len(identities)) < rng.uniform(0.4, 1, size=12)[identities]).astype(float)
        low, high = identity_interval(values, identities)
        held += low <= 0.7 <= high
    assert 0.92 <= held / 400 <= 0.99


@pytest.mark.parametrize(
    ('values', 'identities', 'confidence', 'kind', 'fact'),
    [
        ([], [], 0.95, Mismatch, r'\(0,\)'),
        ([1, 0], [1], 0.95, Mismatch, r'\(2,\) .*\(1,\)'),
        ([[1], [0]], [[1], [2]], 0.95, Mismatch, r'\(2, 1\)'),
        ([0, 1.5], [1, 2], 0.95, WrongValue, r'0\.0 .*1\.5'),
        ([0, np.nan], [1, 2], 0.95, WrongValue, 'nan'),
        ([0, 1], [1, 2], 95, WrongValue, 'confidence 95'),
        ([0, 1], [1, 2], 0, WrongValue, 'confidence 0'),
    ],
)
def test_invalid_results_are_refused(values: list, identities: list, confidence: float, kind: type, fact: str):
    with pytest.raises(kind, match=fact):
        identity_interval(np.array(values, dtype=float), np.array(identities), confidence)
