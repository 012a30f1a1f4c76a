"""From similarities to CMC, mAP and mINP, for all queries at once.

Definitions (the field's, see docs/protocols.md): a query's ranked list is the gallery by falling similarity, ties in
gallery order, without the images a protocol drops for it. Queries without a match left are skipped, not misses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vireid.core.errors import VireidError
from vireid.core.registry.contracts import described
from vireid.core.registry.signature import names_argument
from vireid.core.types import Sample, Similarity, Trial

RANKS = (1, 5, 10, 20)
# Query-gallery pairs worked on at a time: about 100 MB of work arrays.
PAIRS_PER_CHUNK = 2_000_000


@dataclass(frozen=True)
class Scores:
    """The metrics of the V valid queries of one trial: those with a match left after dropping.

    Attributes:
        identities: (V,) int64, the person of each.
        ahead: (V,) int64, identities or images ahead of its first match.
        ap: (V,) average precision, by images, above 0 and up to 1.
        inp: (V,) inverse negative penalty: number of matches / rank of the last match.
        queries: queries given.
        length: ranks R of the CMC.
    """

    identities: np.ndarray
    ahead: np.ndarray
    ap: np.ndarray
    inp: np.ndarray
    queries: int
    length: int

    @property
    def valid(self) -> int:
        """V."""
        return len(self.ahead)

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
        return np.bincount(self.ahead, minlength=self.length).cumsum() / len(self.ahead)

    def rank(self, k: int) -> float:
        """CMC at rank k >= 1; past the end of the list it is 1, as every valid query has matched."""
        return float((self.ahead < k).mean())


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


def score(query: np.ndarray, gallery: np.ndarray, trial: Trial) -> Scores:
    """Scores one trial from embeddings.

    Args:
        query: (Q, D) floats in the order of `trial.query`; similarity is the inner product.
        gallery: (G, D) floats in the order of `trial.gallery`.
        trial: the protocol's draw.

    Raises:
        VireidError: if embeddings are not finite, sizes do not fit, or no query has a match.
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
        return score_similarity(lambda rows: query[rows] @ gallery.T, trial)
    unlike = gallery[np.unique(column, return_index=True)[1]]
    return score_similarity(lambda rows: (query[rows] @ unlike.T)[:, column], trial)


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


def score_similarity(similarity: Callable[[slice], np.ndarray], trial: Trial) -> Scores:
    """Scores one trial from similarities, a chunk of queries at a time.

    Args:
        similarity: called with a slice of the queries, returns a new (q, G) array of finite floats.
        trial: the protocol's draw.

    Raises:
        VireidError: if query or gallery is empty, or no query has a match.
    """
    n_queries, n_gallery = len(trial.query), len(trial.gallery)
    if not n_queries or not n_gallery:
        raise VireidError(
            f'{trial.name}, trial {trial.index}: {n_queries} query and {n_gallery} gallery images',
            todo='check the test identities and the cameras of this protocol',
        )
    query_ids, gallery_ids = labels(trial.query)[0], labels(trial.gallery)[0]
    identities, gallery_identity = np.unique(gallery_ids, return_inverse=True)
    chunk = max(1, PAIRS_PER_CHUNK // n_gallery)
    persons: list[np.ndarray] = []
    first_match: list[np.ndarray] = []
    ap: list[np.ndarray] = []
    inp: list[np.ndarray] = []
    for start in range(0, n_queries, chunk):
        rows = slice(start, min(start + chunk, n_queries))
        order, kept = rank_gallery(similarity(rows), trial, rows)
        match = (gallery_ids[order] == query_ids[rows, None]) & (np.arange(n_gallery) < kept[:, None])
        valid = match.any(axis=1)
        persons.append(query_ids[rows][valid])
        order, match = order[valid], match[valid]
        place = match.argmax(axis=1)
        if trial.cmc == 'identity':
            first_match.append(_identities_ahead(gallery_identity[order], place, len(identities)))
        else:
            first_match.append(place)
        for values, found in zip((ap, inp), _precision(match), strict=True):
            values.append(found)
    if not sum(map(len, persons)):
        raise VireidError(
            f'{trial.name}, trial {trial.index}: none of {n_queries} queries has a match in the gallery',
            todo='check that query and gallery share identities, and what the protocol drops',
        )
    length = len(identities) if trial.cmc == 'identity' else n_gallery
    person, ahead, precision, penalty = (np.concatenate(parts) for parts in (persons, first_match, ap, inp))
    return Scores(person, ahead, precision, penalty, n_queries, length)


def labels(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (N,) int64 identities and cameras of N samples."""
    pairs = np.array([(s.identity, s.camera) for s in samples], dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _precision(match: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and inverse negative penalty of (q, G) matches in ranked order, at least one a row."""
    if not len(match):
        return np.zeros(0), np.zeros(0)
    row, column = np.nonzero(match)
    count = match.sum(axis=1)
    start = count.cumsum() - count
    nth = np.arange(len(row)) - start[row] + 1
    return np.add.reduceat(nth / (column + 1), start) / count, count / (column[start + count - 1] + 1)


def _identities_ahead(person: np.ndarray, place: np.ndarray, n_identities: int) -> np.ndarray:
    """Counts the distinct identities ranked ahead of a place.

    Args:
        person: (q, G) person index 0..P-1 of each place.
        place: (q,) place of the first match, from 0.
        n_identities: P.
    """
    row, ahead = np.nonzero(np.arange(person.shape[1]) < place[:, None])
    seen = np.zeros((len(person), n_identities), dtype=bool)
    seen[row, person[row, ahead]] = True
    return seen.sum(axis=1)


def stable_top(values: np.ndarray, count: int) -> np.ndarray:
    """Columns of the `count` smallest of each row of (q, G) floats, ascending, equal values in column order.

    Infinities may be among them, NaN may not.
    """
    if values.dtype != np.float32:
        return np.argsort(values, axis=1, kind='stable')[:, :count]
    keys = _sortable(values)
    if count < keys.shape[1]:
        keys = np.partition(keys, count - 1, axis=1)[:, :count]
    keys.sort(axis=1)
    return keys & 0xFFFFFFFF


def _sortable(values: np.ndarray) -> np.ndarray:
    """Float32 values and their columns as int64 that sort as the pairs do; there must be no -0.0."""
    # numpy sorts integers with vector instructions, several times as fast as any stable argsort: the high half of
    # each is the float's bits in an order that integers share, the low half its column
    bits = values.view(np.int32)
    return (bits ^ (bits >> 31 & 0x7FFFFFFF)).astype(np.int64) << 32 | np.arange(values.shape[1])
