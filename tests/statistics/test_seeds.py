"""Intervals over seeds: worked out by hand, and how often they hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from vireid.errors import TooFew
from vireid.statistics.seeds import mean_interval, repeat_interval


def student_quantile(probability: float, freedom: float) -> float:
    """Bisects the integral of Student's density."""
    scale = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(freedom * math.pi)
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        area = 0.5 + quad(lambda x: scale * (1 + x * x / freedom) ** (-(freedom + 1) / 2), 0, middle)[0]
        low, high = (middle, high) if area < probability else (low, middle)
    return low


def test_by_hand():
    values = [0.50, 0.52, 0.57]  # mean 0.53, squared deviations 9e-4 + 1e-4 + 16e-4 = 26e-4
    variance = (26e-4 + 0.5 * 0.03**2 / 2) / 2.5
    quantile = student_quantile(0.975, 2.5)
    for limits, share in ((mean_interval(values), 1 / 3), (repeat_interval(values), 4 / 3)):
        half = quantile * math.sqrt(variance * share)
        assert limits == pytest.approx((0.53 - half, 0.53 + half), abs=1e-6)
    low, high = repeat_interval(values, runs=10)
    assert high - low == pytest.approx(2 * quantile * math.sqrt(variance * (1 / 10 + 1 / 3)), abs=1e-6)


def test_two_seeds_that_agree_prove_little():
    low, high = repeat_interval([0.5, 0.5])
    assert high - low > 0.1


def test_limits_stay_within_the_metric():
    assert repeat_interval([0.0, 0.0])[0] == 0.0
    assert repeat_interval([1.0, 1.0])[1] == 1.0


def test_one_seed_has_no_interval():
    for interval in (mean_interval, repeat_interval):
        with pytest.raises(TooFew, match=r'\b1\b'):
            interval([0.5])


@pytest.mark.parametrize('deviation', [0.005, 0.02])
@pytest.mark.parametrize('seeds', [2, 3, 5])
def test_a_faithful_repetition_is_inside_at_least_as_often_as_promised(seeds, deviation):
    rng = np.random.default_rng(0)
    runs = 0.5 + deviation * rng.standard_normal((2000, seeds + 1))
    inside = 0
    for *ours, published in runs:
        low, high = repeat_interval(ours)
        inside += low <= published <= high
    assert inside / len(runs) >= 0.94  # 95% less three standard errors
