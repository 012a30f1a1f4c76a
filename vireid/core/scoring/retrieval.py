"""Ranks galleries and scores trials, from embeddings or similarities, in chunks of queries.

A query's ranked list is the gallery by decreasing similarity, without the images that the protocol drops for it.
Queries without a remaining match are skipped. `statistics/scores.py` computes the metrics of the lists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np

from vireid.core.registry.contracts import described
from vireid.core.registry.signature import names_argument
from vireid.core.scoring.scorable import labels, no_match, require_scorable
from vireid.core.types import Trial
from vireid.errors import Mismatch, NotFinite, WrongValue
from vireid.interfaces import Similarity
from vireid.statistics.ranking import stable_top
from vireid.statistics.scores import RankedLists, Scores, Ties, joined, score_lists

# Query-gallery pairs per chunk: about 100 MB of temporary arrays.
PAIRS_PER_CHUNK = 2_000_000
Rows = Callable[[slice], np.ndarray]  # from a slice of the queries to their (q, G) similarities


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
        raise Mismatch(
            f'{trial.name}: {query.shape[0]} query and {gallery.shape[0]} gallery embeddings for '
            f'{len(trial.query)} and {len(trial.gallery)} images'
        )
    if query.ndim != 2 or query.shape[1:] != gallery.shape[1:]:
        raise Mismatch(
            f'{trial.name}: query embeddings are {query.shape} and gallery embeddings {gallery.shape}',
            allowed='(Q, D) and (G, D)',
        )
    if not (np.isfinite(query).all() and np.isfinite(gallery).all()):
        raise NotFinite(
            f'{trial.name}: embeddings contain NaN or infinity',
            todo='check the losses of the run, or train it again with --precision 32-true',
        )
    # a matrix product may round equal gallery embeddings differently, so each distinct one is multiplied once
    place: dict[bytes, int] = {}
    column = np.array([place.setdefault(row.tobytes(), len(place)) for row in gallery])
    if len(place) == len(gallery):
        return score_similarity(lambda rows: query[rows] @ gallery.T, trial, ties)
    distinct = gallery[np.unique(column, return_index=True)[1]]
    return score_similarity(lambda rows: (query[rows] @ distinct.T)[:, column], trial, ties)


def compare(similarity: Similarity, query: np.ndarray, gallery: np.ndarray, trial: Trial) -> Rows:
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
        raise Mismatch(given, allowed='a function from a slice of the queries to their (q, G) similarities')

    def rows(chosen: slice) -> np.ndarray:
        values, shape = function(chosen), (len(range(len(query))[chosen]), len(gallery))
        fits = isinstance(values, np.ndarray) and values.shape == shape
        if not fits or not np.isfinite(values).all():
            what = 'NaN or infinity' if fits else f'{described(values)} for {shape[0]} queries and {shape[1]} images'
            given = f'evaluation.similarity: {type(similarity).__name__} returned {what}'
            raise (NotFinite if fits else Mismatch)(given, allowed=f'an array {shape} of finite numbers')
        return values

    return rows


def score_similarity(similarity: Rows, trial: Trial, ties: Ties = 'mean') -> Scores:
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
        raise WrongValue(
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
            lists = RankedLists(similar, valid, order[some], match[some], kept[some], person)
            parts.append(score_lists(lists, query_ids[rows][valid], trial.cmc, length, ties))
    if not parts:
        raise no_match(trial)
    return joined(parts, n_queries)
