"""CMC, mAP and mINP of ranked lists, vectorized over queries.

Definitions are the usual ones except for ties, see docs/protocols.md.
If images tie, a metric is its mean over all their orders; `gallery-order` scores ties as most published code does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from vireid.statistics import ties as tied_lists
from vireid.statistics.ranking import identities_ahead, precision

Ties = Literal['mean', 'gallery-order']
Cmc = Literal['identity', 'image']
RANKS = (1, 5, 10, 20)
METRICS = (*(f'R{k}' for k in RANKS), 'mAP', 'mINP')


@dataclass(frozen=True)
class TiedQueries:
    """The effect of ties between equally similar images on the V valid queries of a trial.

    Attributes:
        which: (V,) bool, the queries whose metrics depend on the order of ties.
        within: (V, 4) float64, share of the orders that have a match within each of `RANKS`; None for gallery order.
        cmc: (R,) float64, the same for ranks 1..R, averaged over queries; None for gallery order.
    """

    which: np.ndarray
    within: np.ndarray | None = None
    cmc: np.ndarray | None = None


@dataclass(frozen=True)
class Scores:
    """The metrics of the V valid queries of one trial: those with a match that is not dropped.

    Attributes:
        identities: (V,) int64, identity of each query.
        ahead: (V,) int64, number of identities or images ahead of the first match; float64 if averaged over ties.
        ap: (V,) average precision over images, in (0, 1].
        inp: (V,) inverse negative penalty: number of matches / rank of the last match.
        queries: number of queries, valid or not.
        length: number of ranks R of the CMC.
        ties: None if no metric depends on the order of ties.
    """

    identities: np.ndarray
    ahead: np.ndarray
    ap: np.ndarray
    inp: np.ndarray
    queries: int
    length: int
    ties: TiedQueries | None = None

    @property
    def valid(self) -> int:
        """V, the number of valid queries."""
        return len(self.ahead)

    @property
    def tied(self) -> np.ndarray:
        """(V,) bool, queries whose metrics depend on the order of ties."""
        return np.zeros(self.valid, dtype=bool) if self.ties is None else self.ties.which

    @property
    def mean_ap(self) -> float:
        """Mean average precision over valid queries."""
        return float(self.ap.mean())

    @property
    def mean_inp(self) -> float:
        """Mean inverse negative penalty over valid queries."""
        return float(self.inp.mean())

    @property
    def cmc(self) -> np.ndarray:
        """(R,) share of valid queries with a match within ranks 1..R."""
        if self.ties is not None and self.ties.cmc is not None:
            return self.ties.cmc
        return np.bincount(self.ahead, minlength=self.length).cumsum() / len(self.ahead)

    def rank(self, k: int) -> float:
        """Returns the CMC at rank k >= 1; beyond the end of the list it is 1, since every valid query has a match."""
        if self.ties is not None and self.ties.cmc is not None:
            return float(self.ties.cmc[k - 1]) if k <= self.length else 1.0
        return float((self.ahead < k).mean())

    def columns(self) -> dict[str, np.ndarray]:
        """Returns the values per query: `identity`, `ahead`, `ap`, `inp`; `R1` and so on if averaged over ties."""
        columns = {'identity': self.identities, 'ahead': self.ahead, 'ap': self.ap, 'inp': self.inp}
        if self.ties is not None and self.ties.within is not None:
            columns |= {f'R{k}': values for k, values in zip(RANKS, self.ties.within.T, strict=True)}
        return columns


def matched_within(columns: Mapping[str, np.ndarray], k: int) -> np.ndarray:
    """Returns whether each query has a match within rank k, as (Q,) float64; fractions if it depends on ties.

    Args:
        columns: `Scores.columns` or `queries.npz`; without `R1` and so on if there are no ties or the file is old.
        k: one of `RANKS`.
    """
    return columns[f'R{k}'] if f'R{k}' in columns else (columns['ahead'] < k).astype(np.float64)


def metric_values(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns each of `METRICS` per query as fractions, from `Scores.columns` or `queries.npz`."""
    return {**{f'R{k}': matched_within(columns, k) for k in RANKS}, 'mAP': columns['ap'], 'mINP': columns['inp']}


@dataclass(frozen=True)
class RankedLists:
    """Ranked lists of the V valid queries in a chunk of q queries.

    Attributes:
        similarity: (q, G).
        row: (V,) int64, row of `similarity` of each list.
        order: (V, G) int64, gallery indices.
        match: (V, G) bool, in ranked order.
        kept: (V,) int64, number of images in each list that are not dropped.
        person: (G,) int64, index 0..P-1 of the identity of each gallery image.
    """

    similarity: np.ndarray
    row: np.ndarray
    order: np.ndarray
    match: np.ndarray
    kept: np.ndarray
    person: np.ndarray

    def some(self, which: np.ndarray) -> RankedLists:
        """Returns some of the lists."""
        return RankedLists(
            self.similarity, self.row[which], self.order[which], self.match[which], self.kept[which], self.person
        )


def score_lists(lists: RankedLists, identities: np.ndarray, cmc: Cmc, length: int, ties: Ties) -> Scores:
    """Scores ranked lists.

    Args:
        lists: the lists of V queries; each has a match.
        identities: (V,) int64, identity of each query.
        cmc: whether ranks count distinct identities or images.
        length: number of ranks of the CMC.
        ties: `gallery-order` scores the lists as they are; `mean` rescores those whose metrics depend on ties.
    """
    match = lists.match
    row, column = np.nonzero(match)
    place = match.argmax(axis=1)
    ahead = identities_ahead(lists.person[lists.order], place, length) if cmc == 'identity' else place
    ap, inp = precision(row, column, match.sum(axis=1))
    tied = _mixed(lists, row, column)
    if not tied.any():
        return Scores(identities, ahead, ap, inp, len(ap), length)
    if ties == 'gallery-order':
        return Scores(identities, ahead, ap, inp, len(ap), length, TiedQueries(tied))
    which = np.flatnonzero(tied)
    some = lists.some(which)
    groups = tied_lists.Groups.of(_group_starts(some), some.match)
    if cmc == 'identity':
        averaged = tied_lists.identities_ahead(groups, some.match, some.person[some.order], length, RANKS)
    else:
        averaged = tied_lists.images_ahead(groups, RANKS, length)
    counts = np.bincount(ahead[~tied], minlength=length) + averaged.counts
    within = (ahead[:, None] < np.array(RANKS)).astype(np.float64)
    ahead = ahead.astype(np.float64)
    ahead[which], within[which] = averaged.mean, averaged.within
    ap[which], inp[which] = tied_lists.average_precision(groups), tied_lists.inverse_penalty(groups)
    return Scores(identities, ahead, ap, inp, len(ap), length, TiedQueries(tied, within, _as_cmc(counts)))


def _as_cmc(counts: np.ndarray) -> np.ndarray:
    """Returns the CMC, given the `counts` of queries with 0, 1, ... ahead of their first match."""
    share = np.minimum(counts.cumsum() / counts.sum(), 1.0)
    share[-1] = 1.0
    return share


def joined(parts: Sequence[Scores], queries: int) -> Scores:
    """Concatenates the scores of chunks of one trial, which has this number of queries, valid or not."""
    person, ahead, ap, inp = (
        np.concatenate([getattr(p, name) for p in parts]) for name in ('identities', 'ahead', 'ap', 'inp')
    )
    scores = Scores(person, ahead, ap, inp, queries, parts[0].length)
    if all(p.ties is None for p in parts):
        return scores
    which = np.concatenate([p.tied for p in parts])
    if all(p.ties is None or p.ties.cmc is None for p in parts):
        return replace(scores, ties=TiedQueries(which))
    within = np.concatenate([np.stack([matched_within(p.columns(), k) for k in RANKS], axis=1) for p in parts])
    counts = np.sum([p.valid * np.diff(p.cmc, prepend=0.0) for p in parts], axis=0)
    return replace(scores, ties=TiedQueries(which, within, _as_cmc(counts)))


def _mixed(lists: RankedLists, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Returns the lists in which a match ties with an image of another identity, (V,) bool.

    Args:
        lists: V ranked lists.
        row: list of each match.
        column: its position in the list, from 0.
    """
    tied = np.zeros(len(lists.match), dtype=bool)
    own = lists.similarity[lists.row[row], lists.order[row, column]]
    # ties are adjacent in the ranking: in a mixed group, some match is next to an image of another identity
    for beside in (column - 1, column + 1):
        inside = (beside >= 0) & (beside < lists.kept[row])
        at, place = row[inside], beside[inside]
        equal = lists.similarity[lists.row[at], lists.order[at, place]] == own[inside]
        tied[at[equal & ~lists.match[at, place]]] = True
    return tied


def _group_starts(lists: RankedLists) -> np.ndarray:
    """Returns where groups of equally similar images start in ranked order, (V, G) bool; dropped images start one."""
    near = lists.similarity[lists.row[:, None], lists.order]
    starts = np.ones(near.shape, dtype=bool)
    starts[:, 1:] = near[:, 1:] != near[:, :-1]
    return starts | (np.arange(near.shape[1]) == lists.kept[:, None])
