"""Intervals over seeds of one system: for its mean, and for one more run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from vireid.core.errors import VireidError
from vireid.statistics.comparison import PRIOR_DEVIATION, PRIOR_FREEDOM


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Returns an interval for the mean over all seeds, of which `values` are some.

    For n runs with mean m and sum of squared deviations S, prior standard deviation p and its degrees of freedom f:

        v = (S + f p^2) / (n - 1 + f),   m +- t_(n - 1 + f) sqrt(v / n).

    The prior is that of `vireid.statistics.comparison` for the difference of two runs, divided by the root of 2.

    Args:
        values: a metric as a fraction, one value per seed; at least two.
        confidence: of the interval.

    Returns:
        low <= mean <= high, within [0, 1].

    Raises:
        VireidError: for fewer than two values.
    """
    return _interval(values, confidence, 0.0)


def next_run_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Returns an interval for the metric of one more run, with another seed: m +- t sqrt(v (1 + 1 / n)).

    A single published figure belongs here, not into the interval of the mean: that one shrinks with more seeds, until
    even a faithful run is outside. See `mean_interval` for the symbols, arguments, and errors.
    """
    return _interval(values, confidence, 1.0)


def _interval(values: Sequence[float], confidence: float, own: float) -> tuple[float, float]:
    if len(values) < 2:
        raise VireidError(f'{len(values)} seed', allowed='at least 2, because one run has no spread')
    runs = np.asarray(values, dtype=np.float64)
    freedom = len(runs) - 1 + PRIOR_FREEDOM
    variance = (((runs - runs.mean()) ** 2).sum() + PRIOR_FREEDOM * PRIOR_DEVIATION**2 / 2) / freedom
    half = float(student.ppf(0.5 + confidence / 2, freedom)) * (variance * (own + 1 / len(runs))) ** 0.5
    return max(0.0, float(runs.mean() - half)), min(1.0, float(runs.mean() + half))
