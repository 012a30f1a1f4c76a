"""From similarities to CMC, mAP and mINP, for all queries at once.

Definitions (the field's but for ties, see docs/protocols.md): a query's ranked list is the gallery by falling
similarity, without the images a protocol drops for it. Queries without a match left are skipped, not misses. Where
images tie, a metric is its mean over all their orders; what the field computes, ties in gallery order, has a name.
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
# Query-gallery pairs worked on at a time: about 100 MB of work arrays.
PAIRS_PER_CHUNK = 2_000_000


@dataclass(frozen=True)
class TiedQueries:
    """What the order of equally similar images decides among the V valid queries of a trial.

    Attributes:
        which: (V,) bool, queries some of whose metrics depend on it.
        within: (V, 4) float64, over all orders the share with a match within each of `RANKS`; None if gallery order
            stands.
        cmc: (R,) float64, the mean over queries of the same for ranks 1..R; None likewise.
    """

    which: np.ndarray
    within: np.ndarray | None = None
    cmc: np.ndarray | None = None


@dataclass(frozen=True)
class Scores:
    """The metrics of the V valid queries of one trial: those with a match left after dropping.

    Attributes:
        identities: (V,) int64, the person of each.
        ahead: (V,) int64, identities or images ahead of its first match; float64 if ties make some of them means.
        ap: (V,) average precision, by images, above 0 and up to 1.
        inp: (V,) inverse negative penalty: number of matches / rank of the last match.
        queries: queries given.
        length: ranks R of the CMC.
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
        """V."""
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
        """(R,) share of valid queries with a match among the first 1..R ranks."""
        if self.ties is not None and self.ties.cmc is not None:
            return self.ties.cmc
        return np.bincount(self.ahead, minlength=self.length).cumsum() / len(self.ahead)

    def rank(self, k: int) -> float:
        """CMC at rank k >= 1; past the end of the list it is 1, as every valid query has matched."""
        if self.ties is not None and self.ties.cmc is not None:
            return float(self.ties.cmc[k - 1]) if k <= self.length else 1.0
        return float((self.ahead < k).mean())

    def columns(self) -> dict[str, np.ndarray]:
        """Returns what is kept of each query: `identity`, `ahead`, `ap`, `inp`; `R1` and so on if ties make means."""
        found = {'identity': self.identities, 'ahead': self.ahead, 'ap': self.ap, 'inp': self.inp}
        if self.ties is not None and self.ties.within is not None:
            found |= {f'R{k}': values for k, values in zip(RANKS, self.ties.within.T, strict=True)}
        return found


def matched_within(columns: Mapping[str, np.ndarray], k: int) -> np.ndarray:
    """Says of each query whether it has a match within rank k of `RANKS`, (Q,) float64; a share where ties decide it.

    Args:
        columns: of `Scores.columns` or `queries.npz`; without ties, or of an earlier vireid, they lack `R1` and so on.
        k: the rank.
    """
    return columns[f'R{k}'] if f'R{k}' in columns else (columns['ahead'] < k).astype(np.float64)


def rank_gallery(
    similarity: np.ndarray, trial: Trial, rows: slice = slice(None)
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Ranks the gallery for some queries.

    Args:
        similarity: (q, G) finite floats, higher is more alike, for the queries `rows` of the trial.
        trial: says identities, cameras and what is dropped.
        rows: which of the trial's queries `similarity` holds.

    Returns:
        order: (q, G) int64, gallery indices by falling similarity, ties in gallery order; what the protocol drops
            comes last.
        kept: (q,) int64, how many of each row are not dropped.
    """
    query_ids, query_cameras = labels(trial.query)
    gallery_ids, gallery_cameras = labels(trial.gallery)
    distance = 0 - similarity  # unlike -similarity it makes no -0.0, which as bits is not 0.0
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
        VireidError: if embeddings are not finite or sizes do not fit; and as `score_similarity` does.
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
            f'{trial.name}: embeddings hold NaN or infinity',
            todo='look at the losses of the run; try --precision 32-true',
        )
    # a matrix product may round equal gallery embeddings differently: each is multiplied once, so that ties are ties
    place: dict[bytes, int] = {}
    column = np.array([place.setdefault(row.tobytes(), len(place)) for row in gallery])
    if len(place) == len(gallery):
        return score_similarity(lambda rows: query[rows] @ gallery.T, trial, ties)
    unlike = gallery[np.unique(column, return_index=True)[1]]
    return score_similarity(lambda rows: (query[rows] @ unlike.T)[:, column], trial, ties)


def compare(similarity: Similarity, query: np.ndarray, gallery: np.ndarray, trial: Trial) -> Callable[[slice], Any]:
    """Returns what a similarity makes of a trial's embeddings, a slice of the queries at a time.

    Raises:
        VireidError: when called, if it is not (q, G) finite numbers.
    """
    told = {'trial': trial} if names_argument(similarity.similarity, 'trial') else {}
    of = similarity.similarity(query, gallery, **told)
    if not callable(of):
        given = f'evaluation.similarity: similarity of {type(similarity).__name__} returned {described(of)}'
        raise VireidError(
            given, allowed='a function of a slice of the queries, which returns their (q, G) similarities'
        )

    def rows(chosen: slice) -> np.ndarray:
        made, wanted = of(chosen), (len(range(len(query))[chosen]), len(gallery))
        shaped = isinstance(made, np.ndarray) and made.shape == wanted
        if not shaped or not np.isfinite(made).all():
            what = 'NaN or infinity' if shaped else f'{described(made)} for {wanted[0]} queries and {wanted[1]} images'
            given = f'evaluation.similarity: {type(similarity).__name__} returned {what}'
            raise VireidError(given, allowed=f'an array {wanted} of finite numbers')
        return made

    return rows


def score_similarity(similarity: Callable[[slice], np.ndarray], trial: Trial, ties: Ties = 'mean') -> Scores:
    """Scores one trial from similarities, a chunk of queries at a time.

    Args:
        similarity: called with a slice of the queries, returns a new (q, G) array of finite floats.
        trial: the protocol's draw.
        ties: metrics of equally similar images are the `mean` over all their orders, or those of `gallery-order`.

    Raises:
        VireidError: if query or gallery is empty, the gallery is of one identity, or no query has a match.
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
            some = valid if len(valid) < len(match) else slice(None)  # which copies nothing
            lists = _Lists(similar, valid, order[some], match[some], kept[some], person)
            parts.append(_score_lists(lists, query_ids[rows][valid], trial.cmc, length, ties))
    if not parts:
        raise no_match(trial)
    return _joined(parts, n_queries)


@dataclass(frozen=True)
class _Lists:
    """Ranked lists of V queries that have a match, of those that (q, G) similarities were made of.

    Attributes:
        similarity: (q, G).
        row: (V,) int64, whose row of it each list is of.
        order: (V, G) int64, gallery indices.
        match: (V, G) bool, in ranked order.
        kept: (V,) int64, how many of each list count.
        person: (G,) int64 index 0..P-1 of the person of each gallery image.
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
    """Scores lists in gallery order, then those anew whose ties decide something, if so wanted."""
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
        found = tied_lists.identities_ahead(groups, some.match, some.person[some.order], length, RANKS)
    else:
        found = tied_lists.images_ahead(groups, RANKS, length)
    counts = np.bincount(ahead[~tied], minlength=length) + found.counts
    within = (ahead[:, None] < np.array(RANKS)).astype(np.float64)
    ahead = ahead.astype(np.float64)
    ahead[which], within[which] = found.mean, found.within
    ap[which], inp[which] = tied_lists.average_precision(groups), tied_lists.inverse_penalty(groups)
    return Scores(persons, ahead, ap, inp, len(ap), length, TiedQueries(tied, within, _as_cmc(counts)))


def _as_cmc(counts: np.ndarray) -> np.ndarray:
    """Returns the CMC of queries of which `counts` have 0, 1, ... ahead; all of them match in the end."""
    share = np.minimum(counts.cumsum() / counts.sum(), 1.0)
    share[-1] = 1.0
    return share


def _joined(parts: Sequence[Scores], queries: int) -> Scores:
    """Joins the scores of chunks of queries of one trial."""
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
    """Says in which lists a match ties with an image of somebody else, (V,) bool.

    Args:
        lists: V of them.
        row: list of each match.
        column: its place, from 0.
    """
    tied = np.zeros(len(lists.match), dtype=bool)
    own = lists.similarity[lists.row[row], lists.order[row, column]]
    # ranked ties are neighbors: where a group holds both, a match stands beside somebody else
    for beside in (column - 1, column + 1):
        inside = (beside >= 0) & (beside < lists.kept[row])
        at, place = row[inside], beside[inside]
        equal = lists.similarity[lists.row[at], lists.order[at, place]] == own[inside]
        tied[at[equal & ~lists.match[at, place]]] = True
    return tied


def _group_starts(lists: _Lists) -> np.ndarray:
    """Says where in ranked order a group of equally similar images begins, (V, G) bool; one at the first dropped."""
    near = lists.similarity[lists.row[:, None], lists.order]
    starts = np.ones(near.shape, dtype=bool)
    starts[:, 1:] = near[:, 1:] != near[:, :-1]
    return starts | (np.arange(near.shape[1]) == lists.kept[:, None])
