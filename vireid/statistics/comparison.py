"""Whether one system beats another: paired over seeds, and a bootstrap over identities for two single runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr
from scipy.stats import chi2, nct
from scipy.stats import t as student

from vireid.errors import Mismatch, TooFew

DRAWS = 2000
MAX_SEEDS = 50  # the largest recommendation
# The prior: differences of two runs have a standard deviation of about 3 points. It weighs as much as half a seed, so
# that two seeds that happen to agree prove nothing.
PRIOR_DEVIATION, PRIOR_FREEDOM = 0.03, 0.5
# The spread of other systems adds up to 2 degrees of freedom, which matters when seeds are few. More would assume that
# all systems spread alike.
OTHERS_FREEDOM = 2.0
CAUTION = 0.2  # plan with this quantile of the spread: the spread of few seeds is itself uncertain


@dataclass(frozen=True)
class Difference:
    """The difference of a metric between two systems, with a confidence interval.

    Attributes:
        mean: the mean difference.
        low, high: limits of the interval.
        confidence: confidence of the interval.
        count: the number of seeds, or identities, behind it.
    """

    mean: float
    low: float
    high: float
    confidence: float
    count: int

    @property
    def is_significant(self) -> bool:
        """Whether the difference is significant: the interval excludes 0."""
        return self.low > 0 or self.high < 0


def over_seeds(
    first: Sequence[float],
    second: Sequence[float],
    confidence: float = 0.95,
    others: Sequence[Sequence[float]] = (),
) -> Difference:
    """Compares two systems that ran with the same seeds: Student's t on the paired differences.

    For n differences with mean d and sum of squared deviations S, prior standard deviation p and its degrees of
    freedom f:

        v = (S + f p^2) / (n - 1 + f),   interval d +- t_(n - 1 + f) sqrt(v / n).

    Two or more other systems with the same seeds add g degrees of freedom, at most 2. Let q^2 be twice their mean
    squared residual after removing the means of systems and seeds; then v is at least

        (S + f p^2 + g q^2) / (n - 1 + f + g).

    Args:
        first: a metric of one system, as a fraction; one value per seed.
        second: the same for the other system, in the same order of seeds.
        confidence: confidence of the interval.
        others: the same for further systems, one row each.

    Raises:
        VireidError: if the numbers of seeds differ, or are below two.
    """
    if len(first) != len(second) or len(first) < 2:
        raise (TooFew if len(first) == len(second) else Mismatch)(
            f'{len(first)} and {len(second)} seeds', allowed='the same number for both, at least 2 to estimate a spread'
        )
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    variance, freedom = _variance(differences, others)
    half = float(student.ppf(0.5 + confidence / 2, freedom)) * (variance / len(differences)) ** 0.5
    mean = float(differences.mean())
    return Difference(mean, mean - half, mean + half, confidence, len(differences))


def seeds_for(
    first: Sequence[float],
    second: Sequence[float],
    points: float = 0.05,
    confidence: float = 0.95,
    power: float = 0.8,
    others: Sequence[Sequence[float]] = (),
) -> int:
    """Returns how many seeds a true difference needs to become significant, given the observed spread.

    Args:
        first: a metric of one system, one value per seed; at least two.
        second: the same for the other system.
        points: the true difference, as a fraction.
        confidence: confidence of the interval.
        power: the probability that the interval excludes 0.
        others: the same for further systems, one row each, in the same order of seeds.

    Returns:
        2 to 50; 50 if more would be needed.
    """
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    variance, freedom = _variance(differences, others)
    deviation = (variance * freedom / float(chi2.ppf(CAUTION, freedom))) ** 0.5
    for count in range(2, MAX_SEEDS):
        left = freedom + count - len(differences)
        limit = student.ppf(0.5 + confidence / 2, left)
        if nct.sf(limit, left, points / deviation * count**0.5) >= power:
            return count
    return MAX_SEEDS


def bootstrap(
    first: np.ndarray,
    second: np.ndarray,
    identities: np.ndarray,
    parts: np.ndarray,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Difference:
    """Compares two runs on the same queries by resampling identities: an interval as if other people had been tested.

    All queries of an identity are drawn together, in all trials. The percentile interval is widened as Hesterberg
    (2015, arXiv:1411.5279) advises for small samples: its tails are those of the normal distribution at
    sqrt(n / (n - 1)) times Student's t.

    Args:
        first: (Q,) a metric of each query in one run, as a fraction.
        second: (Q,) the same in the other run.
        identities: (Q,) int, the identity of each query.
        parts: (Q,) int, the trial of each query; all trials have equal weight.
        confidence: confidence of the interval.
        draws: the number of resamples.
        seed: the random seed.
    """
    people, person = np.unique(identities, return_inverse=True)
    trials, part = np.unique(parts, return_inverse=True)
    shape = (len(people), len(trials))
    place = person * len(trials) + part

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(place, values, minlength=shape[0] * shape[1]).reshape(shape)

    counts, apart = sums(np.ones(len(place))), sums(np.asarray(first, np.float64) - second)
    mean = float((apart.sum(axis=0) / counts.sum(axis=0)).mean())
    n = len(people)
    if n < 2:
        return Difference(mean, -1.0, 1.0, confidence, n)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=draws)  # (draws, n): how often each identity is drawn
    many = drawn @ counts
    with np.errstate(invalid='ignore'):
        means = (drawn @ apart / many).mean(axis=1, where=many > 0)  # a trial may contain none of those drawn
    tail = float(ndtr((n / (n - 1)) ** 0.5 * student.ppf((1 - confidence) / 2, n - 1)))
    low, high = np.nanquantile(means, (tail, 1 - tail))
    return Difference(mean, float(min(low, mean)), float(max(high, mean)), confidence, n)


def _variance(apart: np.ndarray, others: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Returns the variance of one difference and its degrees of freedom; see `over_seeds`."""
    freedom = len(apart) - 1 + PRIOR_FREEDOM
    squares = float(((apart - apart.mean()) ** 2).sum()) + PRIOR_FREEDOM * PRIOR_DEVIATION**2
    if len(others) < 2:
        return squares / freedom, freedom
    values = np.asarray(others, dtype=np.float64)
    left = values - values.mean(1, keepdims=True) - values.mean(0, keepdims=True) + values.mean()
    known = (values.shape[0] - 1) * (values.shape[1] - 1)
    more = min(known, OTHERS_FREEDOM)
    pooled = (squares + more * 2 * float((left**2).sum()) / known) / (freedom + more)
    return max(squares / freedom, pooled), freedom + more
