"""Metrics of ranked lists with ties: means over all orders of tied images, in closed form and float64.

After McSherry and Najork, "Computing Information Retrieval Performance Measures Efficiently in the Presence of Tied
Scores", ECIR 2008, https://doi.org/10.1007/978-3-540-78646-7_38. The paper does not cover the penalty of the last
match and the count of distinct identities.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Groups of up to 512 images are integrated exactly; larger ones, of up to 3,000 identities, to 1e-13
# (tests/statistics/test_ties.py). The same number of nodes over the whole of 0..1 would err by up to 1e-5 there.
NODES = 256


@dataclass(frozen=True)
class Groups:
    """The tied groups with a match in T lists, in ranked order; an image without ties is a group of one.

    Attributes:
        row: (n,) int64, the list of each group, ascending; every list has at least one.
        ahead: (n,) int64, images of the list ahead of the group.
        size: (n,) int64, images in the group.
        matches: (n,) int64, matches among them, at least one.
        earlier: (n,) int64, matches ahead of the group.
    """

    row: np.ndarray
    ahead: np.ndarray
    size: np.ndarray
    matches: np.ndarray
    earlier: np.ndarray

    @classmethod
    def of(cls, starts: np.ndarray, match: np.ndarray) -> Groups:
        """Returns the groups of T lists of G images.

        Args:
            starts: (T, G) bool, where a group starts; True in the first column.
            match: (T, G) bool, at least one per row.
        """
        length = match.shape[1]
        first = np.flatnonzero(starts)
        matches = np.add.reduceat(match.ravel(), first, dtype=np.int64)
        before = matches.cumsum() - matches
        row = first // length
        size = np.diff(first, append=match.size)
        earlier = before - before[np.searchsorted(row, np.arange(len(match)))][row]
        held = matches > 0
        return cls(row[held], (first % length)[held], size[held], matches[held], earlier[held])

    def first(self) -> Groups:
        """Returns the first group of each list."""
        return self._chosen(np.diff(self.row, prepend=-1) > 0)

    def last(self) -> Groups:
        """Returns the last group of each list."""
        return self._chosen(np.diff(self.row, append=self.row[-1] + 1) > 0)

    def _chosen(self, which: np.ndarray) -> Groups:
        return Groups(self.row[which], self.ahead[which], self.size[which], self.matches[which], self.earlier[which])


@dataclass(frozen=True)
class Ahead:
    """How many images or identities precede the first match of T lists, over all orders of tied images.

    Attributes:
        mean: (T,) float64.
        within: (T, K) float64, the probability of fewer than each of K ranks.
        counts: (length,) float64, the expected number of lists with 0, 1, ... ahead.
    """

    mean: np.ndarray
    within: np.ndarray
    counts: np.ndarray


def average_precision(groups: Groups) -> np.ndarray:
    """Returns the mean average precision of each list, (T,) float64.

    Position j of a group of N images with m matches holds a match with probability m / N; given that,
    (m - 1)(j - 1) / (N - 1) of the other matches precede it on average.
    """
    size, start = groups.size, groups.size.cumsum() - groups.size
    j = np.arange(size.sum()) - np.repeat(start, size)  # from 0
    share, others = groups.matches / size, (groups.matches - 1) / np.maximum(size - 1, 1)
    ahead, earlier, slope, weight = (np.repeat(v, size) for v in (groups.ahead, groups.earlier, others, share))
    precision = weight * (earlier + 1 + slope * j) / (ahead + 1 + j)
    return np.bincount(np.repeat(groups.row, size), precision) / np.bincount(groups.row, groups.matches)


def inverse_penalty(groups: Groups) -> np.ndarray:
    """Returns the mean inverse negative penalty of each list: its number of matches / the rank of the last one.

    Read backwards, the last match is the first: the number of images after it has the distribution of those before the
    first.

    Returns:
        (T,) float64.
    """
    last = groups.last()
    kinds, kind = _distinct(np.stack([last.ahead, last.size, last.matches], axis=1))
    inverse = np.empty(len(kinds))
    for place, (ahead, size, matches) in enumerate(kinds.tolist()):
        law = images_law(matches, size - matches)
        inverse[place] = (law / (ahead + size - np.arange(len(law)))).sum()
    return (last.earlier + last.matches) * inverse[kind]


def images_ahead(groups: Groups, ranks: Sequence[int], length: int) -> Ahead:
    """Counts the images ahead of the first match.

    Args:
        groups: the groups of T lists.
        ranks: K ranks, from 1.
        length: an upper bound (exclusive) of the number of images ahead.
    """
    first = groups.first()
    others = first.size - first.matches
    mean = first.ahead + others / (first.matches + 1)
    return _ahead(first.ahead, np.stack([first.matches, others], axis=1), images_law, mean, ranks, length)


def identities_ahead(
    groups: Groups, match: np.ndarray, person: np.ndarray, identities: int, ranks: Sequence[int]
) -> Ahead:
    """Counts the distinct identities ahead of the first match; an identity already in an earlier group counts once.

    Args:
        groups: the groups of T lists of G images.
        match: (T, G) bool.
        person: (T, G) int64, the identity of each image, from 0.
        identities: P, the number of identities.
        ranks: K ranks, from 1.
    """
    first = groups.first()
    column, begin, end = np.arange(person.shape[1]), first.ahead[:, None], (first.ahead + first.size)[:, None]
    seen = _tally(column < begin, person, identities) > 0
    rivals = _tally((column >= begin) & (column < end) & ~match, person, identities)
    rivals[seen] = 0
    mean = seen.sum(axis=1) + (rivals / (rivals + first.matches[:, None])).sum(axis=1)
    rivals = -np.sort(-rivals, axis=1)[:, : max(1, int((rivals > 0).sum(axis=1).max()))]
    kinds = np.concatenate([first.matches[:, None], rivals], axis=1)
    return _ahead(seen.sum(axis=1), kinds, _identities_law, mean, ranks, identities)


@functools.lru_cache(4096)
def images_law(matches: int, others: int) -> np.ndarray:
    """Returns the probability of 0, 1, ... of `others` tied images before the first of `matches`, (others + 1,)."""
    b = np.arange(others)
    steps = np.cumprod((others - b) / (matches + others - 1 - b))
    return np.concatenate([[1.0], steps]) * (matches / (matches + others))


@functools.lru_cache(4096)
def identities_law(matches: int, rivals: tuple[int, ...]) -> np.ndarray:
    """Returns the probabilities that 0, 1, ... of P identities precede the first of `matches` tied images, (P + 1,).

    Each image gets an independent uniform time in 0..1, and times order them. Let s be the probability that an image
    comes later than the first match: its density is m s^(m - 1). Given s, an identity of c images is ahead with
    probability 1 - s^c, independently of the others; so each probability is the integral of a polynomial of degree
    m - 1 + (the sum of all c).

    Args:
        matches: m.
        rivals: the number c of tied images of each of the P identities.
    """
    time, weight = _nodes(matches + sum(rivals), len(rivals))
    log = np.log1p(-time)  # of s, which is close to 1 where it matters
    law = np.zeros((len(rivals) + 1, len(time)))
    law[0] = weight * matches * np.exp((matches - 1) * log)
    for done, count in enumerate(rivals, start=1):
        behind, ahead = np.exp(count * log), -np.expm1(count * log)
        law[1 : done + 1] = law[1 : done + 1] * behind + law[:done] * ahead
        law[0] *= behind
    return law.sum(axis=1)


def _identities_law(matches: int, *rivals: int) -> np.ndarray:
    """Calls `identities_law` without the padding: identities without an image."""
    return identities_law(matches, tuple(count for count in rivals if count))


def _nodes(size: int, identities: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes in 0..1 and weights for a group of `size` images with `identities` other than the match's.

    Polynomials of a degree below `size` are integrated exactly if half as many nodes are within the limit. In larger
    groups everything happens at times near 0, so each octave of times has its own nodes.
    """
    if size <= 2 * NODES:
        return _legendre(1 << ((size + 1) // 2 - 1).bit_length())
    node, weight = _legendre(24 + 3 * math.isqrt(identities))
    edges = np.concatenate([[0.0], 2.0 ** np.arange(-math.ceil(math.log2(size)), 1)])
    width = np.diff(edges)[:, None]
    return (edges[:-1, None] + width * node).ravel(), (width * weight).ravel()


@functools.lru_cache(32)
def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns Gauss-Legendre nodes and weights on 0..1, exact for degrees below 2 count."""
    from scipy.special import roots_legendre  # slow to import; training needs it only at its end

    nodes, weights = roots_legendre(count)
    return (1 + nodes) / 2, weights / 2


def _ahead(
    certain: np.ndarray,
    kinds: np.ndarray,
    law_of: Callable[..., np.ndarray],
    mean: np.ndarray,
    ranks: Sequence[int],
    length: int,
) -> Ahead:
    """Combines the distributions of T lists, computing each distinct one once.

    Args:
        certain: (T,) int64, how many are ahead in every order.
        kinds: (T, n) int64, the parameters of the distribution of the others.
        law_of: called with the n parameters of a row.
        mean: (T,) float64.
        ranks: K ranks, from 1.
        length: length of the counts.
    """
    within, counts = np.zeros((len(certain), len(ranks))), np.zeros(length)
    distinct, kind = _distinct(kinds)
    members = np.split(np.argsort(kind, kind='stable'), np.bincount(kind).cumsum()[:-1])
    for numbers, rows in zip(distinct.tolist(), members, strict=True):
        law = law_of(*numbers)
        total = np.concatenate([[0.0], np.minimum(law.cumsum(), 1.0)])
        total[-1] = 1.0
        within[rows] = total[np.clip(np.asarray(ranks) - certain[rows, None], 0, len(law))]
        for ahead, lists in zip(*np.unique(certain[rows], return_counts=True), strict=True):
            counts[ahead : ahead + len(law)] += lists * law
    return Ahead(mean, within, counts)


def _distinct(rows: np.ndarray) -> tuple[Any, Any]:
    """Returns the distinct rows of a matrix, and for each row its index among them."""
    distinct, place = np.unique(rows, axis=0, return_inverse=True)
    return distinct, place.reshape(-1)  # NumPy 2.0 returns a column


def _tally(which: np.ndarray, person: np.ndarray, identities: int) -> np.ndarray:
    """Counts the selected images of each identity, (T, G) to (T, P) int64."""
    row, column = np.nonzero(which)
    place = row * identities + person[row, column]
    return np.bincount(place, minlength=len(which) * identities).reshape(-1, identities)
