"""Confidence intervals of a mean over queries, computed over identities rather than queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vireid.errors import Mismatch, WrongValue

# The prior, in identities: Jeffreys' half a hit and half a miss for the mean, and half a degree of freedom for the
# variance, which is then that of identities whose queries are all right or all wrong.
PRIOR = 0.5
FEW = 100  # tables omit intervals for this many test identities or more


def identity_interval(
    values: np.ndarray, identities: np.ndarray, confidence: float = 0.95, weights: np.ndarray | None = None
) -> tuple[float, float]:
    """Returns a confidence interval for the mean of a metric over queries, as if other people had been tested.

    Queries of one identity are correlated, so each identity counts once, however many queries and trials it has. For n
    identities with m_i queries of sum s_i, and the mean p = sum(s_i) / M over M = sum(m_i) queries:

        v = sum((s_i - p m_i)^2) n / ((n - 1) M^2)              cluster-robust variance of the ratio p
        u = ((n - 1) v + PRIOR p (1 - p) / n) / d               shrunk towards 0/1 identities, d = n - 1 + PRIOR
        k = p (1 - p) / u (z / t_d)^2                           effective number of identities (Korn, Graubard 1998)

    The limits are quantiles of Beta(k p + 1/2, k (1 - p) + 1/2), Jeffreys' interval of k identities. If p is 0 or 1,
    the variance cannot be estimated, and k = n. `benchmarks/interval_coverage.py` measures the coverage.

    Args:
        values: (Q,) floats in [0, 1], one per valid query: rank-1 hit, AP or INP; trials one after another.
        identities: (Q,) int, the identity of each query.
        confidence: in (0, 1).
        weights: (Q,) positive weight of each query in the mean, in place of 1 in m_i and s_i; None means equal.

    Returns:
        low <= mean <= high, both in [0, 1]; (0, 1) for a single identity.

    Raises:
        VireidError: if there are no values, shapes differ, or a value or `confidence` is out of range.
    """
    from scipy.special import betaincinv, ndtri, stdtrit  # slow to import; training needs it only at its end

    values, identities = np.asarray(values, dtype=np.float64), np.asarray(identities)
    if values.ndim != 1 or values.shape != identities.shape or not len(values):
        given = f'interval: values are {values.shape} and identities {identities.shape}'
        raise Mismatch(given, allowed='(Q,) and (Q,) of at least one query')
    if not ((values >= 0) & (values <= 1)).all():
        raise WrongValue(f'interval: values from {values.min()} to {values.max()}', allowed='0 to 1')
    if not 0 < confidence < 1:
        raise WrongValue(f'interval: confidence {confidence}', allowed='between 0 and 1, such as 0.95')
    person = np.unique(identities, return_inverse=True)[1]
    weights = np.ones(len(values)) if weights is None else weights
    sums, counts = np.bincount(person, values * weights), np.bincount(person, weights)
    n, total = len(counts), float(counts.sum())
    mean = float(sums.sum() / total)
    if n == 1:
        return 0.0, 1.0
    spread = mean * (1 - mean)  # the variance of an identity whose queries are all right or all wrong
    tail = (1 - confidence) / 2
    effective = float(n)
    if spread > 1e-12:  # smaller values are rounding
        freedom = n - 1 + PRIOR
        squares = ((sums - mean * counts) ** 2).sum() * n / total**2
        variance = (squares + PRIOR * spread / n) / freedom
        effective = spread / variance * (ndtri(tail) / stdtrit(freedom, tail)) ** 2
    low, high = betaincinv(effective * mean + 0.5, effective * (1 - mean) + 0.5, (tail, 1 - tail))
    return (min(float(low), mean) if mean > 0 else 0.0), (max(float(high), mean) if mean < 1 else 1.0)


def what_few_allow(identities: int, mean: float = 0.8) -> str:
    """Describes how much a test on so many identities can show, before there are results.

    Args:
        identities: at least 1.
        mean: an example rank-1; all queries of an identity are assumed to succeed or fail together.
    """
    from scipy.special import betaincinv

    low, high = betaincinv(identities * mean + 0.5, identities * (1 - mean) + 0.5, (0.025, 0.975))
    given = f'a rank-1 of {100 * mean:.0f}% on {identities} people'
    return f'{given} is compatible with {100 * low:.0f} to {100 * high:.0f}% on others'


def add_intervals(
    row: dict[str, Any], values: Mapping[str, np.ndarray], identities: np.ndarray, part: np.ndarray
) -> None:
    """Adds intervals over identities to a row if there are fewer than 100 test identities, a small sample.

    Args:
        row: the row, changed in place; it has a dict for each metric.
        values: (Q,) values of all queries, by metric.
        identities: (Q,) identity of each query.
        part: (Q,) integers from 0, the trial or model of each query; the row's mean weights all parts equally.
    """
    count = len(np.unique(identities))
    if count < FEW:
        row['identities'] = count
        weights = 1 / np.bincount(part)[part]
        for key in values:
            row[key]['low'], row[key]['high'] = identity_interval(values[key], identities, weights=weights)
