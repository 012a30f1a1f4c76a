"""Computes CMC, mAP and mINP from similarities, vectorized over queries.

Definitions are the usual ones except for ties, see docs/protocols.md. A query's ranked list is the gallery by
decreasing similarity, without the images that the protocol drops for it. Queries without a remaining match are skipped.
If images tie, a metric is its mean over all their orders; `gallery-order` scores ties as most published code does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from vireid.core.errors import VireidError
from vireid.core.registry.contracts import described
from vireid.core.registry.signature import names_argument
from vireid.core.scoring.scorable import labels, no_match, require_scorable
from vireid.core.types import Trial
from vireid.interfaces import Similarity
from vireid.statistics import ties as tied_lists
from vireid.statistics.ranking import identities_ahead, precision, stable_top

Ties = Literal['mean', 'gallery-order']
RANKS = (1, 5, 10, 20)
# Query-gallery pairs per chunk: about 100 MB of temporary arrays.
PAIRS_PER_CHUNK = 2_000_000


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


def rank_gallery(similarity: np.ndarray, trial: Trial, rows: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Ranks the gallery for some queries.

    Args:
        similarity: (q, G) finite floats for the queries `rows`; higher is more similar.
        trial: defines identities, cameras and dropped images.
        rows: the queries of the trial that `similarity` covers.

    Returns:
        order: (q, G) int64, gallery indices by decreasing similarity, ties in gallery order, dropped images last.
        kept: (q,) int64, number of images per row that are not dropped.
    """
    query_ids, query_cameras = labels(trial.query)
    gallery_ids, gallery_cameras = labels(trial.gallery)
    distance = 0 - similarity  # -similarity could give -0.0, whose bits differ from those of 0.0
    kept = np.full(len(distance), distance.shape[1], dtype=np.int64)
    if trial.drop is not None:
        dropped = np.broadcast_to(
            trial.drop(query_ids[rows, None], query_cameras[rows, None], gallery_ids[None], gallery_cameras[None]),
            distance.shape,
        )
        distance[dropped] = np.inf
        kept -= dropped.sum(axis=1)
    return stable_top(distance, distance.shape[1]), kept


def score(query: np.ndarray, gallery: np.ndarray, trial: Trial, ties: Ties = 'mean') -> Scores:
    """Scores one trial from embeddings.

    Args:
        query: (Q, D) floats in the order of `trial.query`; similarity is the inner product.
        gallery: (G, D) floats in the order of `trial.gallery`.
        trial: the protocol's draw.
        ties: as in `score_similarity`.

    Raises:
        VireidError: if embeddings are not finite or shapes do not match; and as `score_similarity` does.
    """
    if query.shape[0] != len(trial.query) or gallery.shape[0] != len(trial.gallery):
        raise VireidError(
            f'{trial.name}: {query.shape[0]} query and {gallery.shape[0]} gallery embeddings for '
            f'{len(trial.query)} and {len(trial.gallery)} images'
        )
    if query.ndim != 2 or query.shape[1:] != gallery.shape[1:]:
        raise VireidError(
            f'{trial.name}: query embeddings are {query.shape} and gallery embeddings {gallery.shape}',
            allowed='(Q, D) and (G, D)',
        )
    if not (np.isfinite(query).all() and np.isfinite(gallery).all()):
        raise VireidError(
            f'{trial.name}: embeddings contain NaN or infinity',
            todo='check the losses of the run; try --precision 32-true',
        )
    # a matrix product may round equal gallery embeddings differently, so each distinct one is multiplied once
    place: dict[bytes, int] = {}
    column = np.array([place.setdefault(row.tobytes(), len(place)) for row in gallery])
    if len(place) == len(gallery):
        return score_similarity(lambda rows: query[rows] @ gallery.T, trial, ties)
    distinct = gallery[np.unique(column, return_index=True)[1]]
    return score_similarity(lambda rows: (query[rows] @ distinct.T)[:, column], trial, ties)


def compare(similarity: Similarity, query: np.ndarray, gallery: np.ndarray, trial: Trial) -> Callable[[slice], Any]:
    """Returns a checked function from a slice of the queries to their similarities.

    Args:
        similarity: the similarity.
        query: (Q, D) embeddings.
        gallery: (G, D) embeddings.
        trial: passed to a similarity that has a `trial` argument.

    Raises:
        VireidError: here or in the returned function, if the similarity does not return (q, G) finite numbers.
    """
    context = {'trial': trial} if names_argument(similarity.similarity, 'trial') else {}
    function = similarity.similarity(query, gallery, **context)
    if not callable(function):
        given = f'evaluation.similarity: similarity of {type(similarity).__name__} returned {described(function)}'
        raise VireidError(given, allowed='a function from a slice of the queries to their (q, G) similarities')

    def rows(chosen: slice) -> np.ndarray:
        values, shape = function(chosen), (len(range(len(query))[chosen]), len(gallery))
        fits = isinstance(values, np.ndarray) and values.shape == shape
        if not fits or not np.isfinite(values).all():
            what = 'NaN or infinity' if fits else f'{described(values)} for {shape[0]} queries and {shape[1]} images'
            given = f'evaluation.similarity: {type(similarity).__name__} returned {what}'
            raise VireidError(given, allowed=f'an array {shape} of finite numbers')
        return values

    return rows


def score_similarity(similarity: Callable[[slice], np.ndarray], trial: Trial, ties: Ties = 'mean') -> Scores:
    """Scores one trial from similarities, a chunk of queries at a time.

    Args:
        similarity: function from a slice of the queries to a new (q, G) array of finite floats.
        trial: the protocol's draw.
        ties: how to score equally similar images: the `mean` over all their orders, or in `gallery-order`.

    Raises:
        VireidError: if query or gallery is empty, the gallery has a single identity, or no query has a match.
    """
    n_queries, n_gallery = len(trial.query), len(trial.gallery)
    if ties not in get_args(Ties):
        raise VireidError(
            f'evaluation.ties is {ties!r}', allowed=', '.join(map(repr, get_args(Ties))), path='evaluation.ties'
        )
    require_scorable(trial)
    query_ids, gallery_ids = labels(trial.query)[0], labels(trial.gallery)[0]
    identities, person = np.unique(gallery_ids, return_inverse=True)
    length = len(identities) if trial.cmc == 'identity' else n_gallery
    chunk = max(1, PAIRS_PER_CHUNK // n_gallery)
    parts: list[Scores] = []
    for start in range(0, n_queries, chunk):
        rows = slice(start, min(start + chunk, n_queries))
        similar = similarity(rows)
        order, kept = rank_gallery(similar, trial, rows)
        match = (gallery_ids[order] == query_ids[rows, None]) & (np.arange(n_gallery) < kept[:, None])
        valid = np.flatnonzero(match.any(axis=1))
        if len(valid):
            some = valid if len(valid) < len(match) else slice(None)  # a slice makes no copy
            lists = _Lists(similar, valid, order[some], match[some], kept[some], person)
            parts.append(_score_lists(lists, query_ids[rows][valid], trial.cmc, length, ties))
    if not parts:
        raise no_match(trial)
    return _joined(parts, n_queries)


@dataclass(frozen=True)
class _Lists:
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

    def some(self, which: np.ndarray) -> _Lists:
        """Returns some of the lists."""
        return _Lists(
            self.similarity, self.row[which], self.order[which], self.match[which], self.kept[which], self.person
        )


def _score_lists(lists: _Lists, persons: np.ndarray, cmc: str, length: int, ties: Ties) -> Scores:
    """Scores lists in gallery order; unless `ties` is `gallery-order`, rescores lists whose metrics depend on ties."""
    match = lists.match
    row, column = np.nonzero(match)
    place = match.argmax(axis=1)
    ahead = identities_ahead(lists.person[lists.order], place, length) if cmc == 'identity' else place
    ap, inp = precision(row, column, match.sum(axis=1))
    tied = _mixed(lists, row, column)
    if not tied.any():
        return Scores(persons, ahead, ap, inp, len(ap), length)
    if ties == 'gallery-order':
        return Scores(persons, ahead, ap, inp, len(ap), length, TiedQueries(tied))
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
    return Scores(persons, ahead, ap, inp, len(ap), length, TiedQueries(tied, within, _as_cmc(counts)))


def _as_cmc(counts: np.ndarray) -> np.ndarray:
    """Returns the CMC, given the `counts` of queries with 0, 1, ... ahead of their first match."""
    share = np.minimum(counts.cumsum() / counts.sum(), 1.0)
    share[-1] = 1.0
    return share


def _joined(parts: Sequence[Scores], queries: int) -> Scores:
    """Concatenates the scores of the chunks of one trial."""
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


def _mixed(lists: _Lists, row: np.ndarray, column: np.ndarray) -> np.ndarray:
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


def _group_starts(lists: _Lists) -> np.ndarray:
    """Returns where groups of equally similar images start in ranked order, (V, G) bool; dropped images start one."""
    near = lists.similarity[lists.row[:, None], lists.order]
    starts = np.ones(near.shape, dtype=bool)
    starts[:, 1:] = near[:, 1:] != near[:, :-1]
    return starts | (np.arange(near.shape[1]) == lists.kept[:, None])
