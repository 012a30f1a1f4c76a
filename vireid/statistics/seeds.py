"""Intervals over seeds of one system: for its mean, and for a repetition by others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from vireid.errors import TooFew
from vireid.statistics.comparison import PRIOR_DEVIATION, PRIOR_FREEDOM


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Returns an interval for the mean over all seeds, of which `values` are some.

    For n runs with mean m and sum of squared deviations S, prior standard deviation p and its degrees of freedom f:

        v = (S + f p^2) / (n - 1 + f),   m +- t_(n - 1 + f) sqrt(v / n).

    The prior is that of `vireid.statistics.comparison` for the difference of two runs, divided by the root of 2.

    Args:
        values: a metric as a fraction, one value per seed; at least two.
        confidence: confidence of the interval.

    Returns:
        low <= mean <= high, within [0, 1].

    Raises:
        TooFew: for fewer than two values.
    """
    return _interval(values, confidence, 0.0)


def repeat_interval(values: Sequence[float], runs: int = 1, confidence: float = 0.95) -> tuple[float, float]:
    """Returns an interval for the mean of `runs` more runs with other seeds: m +- t sqrt(v (1 / runs + 1 / n)).

    Compare a published figure with this interval, not with that of the mean, which shrinks with more seeds until even a
    faithful repetition lies outside.

    Args:
        values: a metric as a fraction, one value per run; at least two.
        runs: number of runs whose mean was published.
        confidence: confidence of the interval.

    Returns:
        Limits within [0, 1]; see `mean_interval` for the symbols.

    Raises:
        TooFew: for fewer than two values.
    """
    return _interval(values, confidence, 1 / runs)


def _interval(values: Sequence[float], confidence: float, others: float) -> tuple[float, float]:
    if len(values) < 2:
        raise TooFew(f'number of seeds: {len(values)}', allowed='at least 2, because one run has no spread')
    runs = np.asarray(values, dtype=np.float64)
    freedom = len(runs) - 1 + PRIOR_FREEDOM
    variance = (((runs - runs.mean()) ** 2).sum() + PRIOR_FREEDOM * PRIOR_DEVIATION**2 / 2) / freedom
    half = float(student.ppf(0.5 + confidence / 2, freedom)) * (variance * (others + 1 / len(runs))) ** 0.5
    return max(0.0, float(runs.mean() - half)), min(1.0, float(runs.mean() + half))
