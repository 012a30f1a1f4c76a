"""Whether one system beats another: paired over seeds, and a bootstrap over identities for two single runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr
from scipy.stats import chi2, nct
from scipy.stats import t as student

from vireid.core.errors import VireidError

DRAWS = 2000
MOST_SEEDS = 50  # that are ever recommended
# What is known before: differences of two runs deviate by some 3 points. It weighs as half a seed, so that two seeds
# that happen to agree prove nothing.
PRIOR_DEVIATION, PRIOR_FREEDOM = 0.03, 0.5
# With other systems beside the two, their spread counts as up to 2 degrees of freedom: much where seeds are few. More
# would trust that all systems spread alike.
OTHERS_FREEDOM = 2.0
CAUTION = 0.2  # the quantile of the spread that is planned with: the spread of few seeds is itself uncertain


@dataclass(frozen=True)
class Difference:
    """How much larger a metric of one system is than that of another, and how sure that is.

    Attributes:
        mean: of the differences.
        low, high: limits of the interval.
        confidence: of the interval.
        count: seeds, or identities, that it rests on.
    """

    mean: float
    low: float
    high: float
    confidence: float
    count: int

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves no doubt about the sign."""
        return self.low > 0 or self.high < 0


def over_seeds(
    first: Sequence[float],
    second: Sequence[float],
    confidence: float = 0.95,
    others: Sequence[Sequence[float]] = (),
) -> Difference:
    """Compares two systems that were run with the same seeds: Student's t of the differences, seed by seed.

    For n differences with mean d and sum of squared deviations S, and with the prior deviation p and its freedom f:

        v = (S + f p^2) / (n - 1 + f),   interval d +- t_(n - 1 + f) sqrt(v / n).

    Two or more other systems with the same seeds add g degrees of freedom, at most 2. With q^2, twice the mean square
    of what is left of them without the means of systems and seeds, v is at least

        (S + f p^2 + g q^2) / (n - 1 + f + g).

    Args:
        first: a metric of one system, as a fraction; one value for each seed.
        second: of the other, in the order of the same seeds.
        confidence: of the interval.
        others: of the systems beside the two, a row each, in the order of the same seeds.

    Raises:
        VireidError: for other numbers of seeds, or fewer than two.
    """
    if len(first) != len(second) or len(first) < 2:
        raise VireidError(
            f'{len(first)} and {len(second)} seeds', allowed='as many of each, at least 2: one seed tells no spread'
        )
    apart = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    variance, freedom = _variance(apart, others)
    half = float(student.ppf(0.5 + confidence / 2, freedom)) * (variance / len(apart)) ** 0.5
    mean = float(apart.mean())
    return Difference(mean, mean - half, mean + half, confidence, len(apart))


def seeds_for(
    first: Sequence[float],
    second: Sequence[float],
    points: float = 0.05,
    confidence: float = 0.95,
    power: float = 0.8,
    others: Sequence[Sequence[float]] = (),
) -> int:
    """Returns how many seeds would show a true difference of so many points, given the spread of these.

    Args:
        first: a metric of one system, one value for each seed; at least two.
        second: of the other.
        points: the true difference, as a fraction.
        confidence: of the interval.
        power: in how many of such comparisons the interval shall leave out 0.
        others: of the systems beside the two, a row each, in the order of the same seeds.

    Returns:
        From 2 to 50; 50 where more would be needed.
    """
    apart = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    variance, freedom = _variance(apart, others)
    deviation = (variance * freedom / float(chi2.ppf(CAUTION, freedom))) ** 0.5
    for count in range(2, MOST_SEEDS):
        left = freedom + count - len(apart)
        limit = student.ppf(0.5 + confidence / 2, left)
        if nct.sf(limit, left, points / deviation * count**0.5) >= power:
            return count
    return MOST_SEEDS


def bootstrap(
    first: np.ndarray,
    second: np.ndarray,
    identities: np.ndarray,
    parts: np.ndarray,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Difference:
    """Compares two runs on the same queries by drawing people anew: an interval as if others had been tested.

    All queries of a person are drawn together, in all trials. The percentile interval is widened as Hesterberg (2015)
    advises for few people: its tails are those of the normal distribution at sqrt(n / (n - 1)) times Student's t.

    Args:
        first: (Q,) a metric of each query in one run, as a fraction.
        second: (Q,) in the other.
        identities: (Q,) integers, whose query each is.
        parts: (Q,) integers, its trial; trials count alike.
        confidence: of the interval.
        draws: how often people are drawn.
        seed: of the draws.
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
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=draws)  # (draws, people): how often each
    many = drawn @ counts
    with np.errstate(invalid='ignore'):
        found = (drawn @ apart / many).mean(axis=1, where=many > 0)  # a trial may have none of the people drawn
    tail = float(ndtr((n / (n - 1)) ** 0.5 * student.ppf((1 - confidence) / 2, n - 1)))
    low, high = np.nanquantile(found, (tail, 1 - tail))
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
