"""The ranking lists that reports show: the best, the worst and random queries, and the top of their lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vireid.core.scoring.results import Results
from vireid.core.scoring.retrieval import PAIRS_PER_CHUNK, compare, labels, rank_gallery
from vireid.core.types import Sample, Trial
from vireid.statistics.scores import Scores

LISTS = 20  # ranking lists of each kind: best, worst, random
TOP = 10  # gallery images of each


class Shown:
    """The images to show, each once."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._index: dict[str, int] = {}

    def add(self, sample: Sample) -> int:
        """Adds an image unless it is there; returns its number."""
        if sample.path not in self._index:
            self._index[sample.path] = len(self.samples)
            self.samples.append(sample)
        return self._index[sample.path]


@dataclass
class RankedQueries:
    """The V queries of a trial that have a match, and the top K images of their lists."""

    query: np.ndarray  # (V,) their indices in the trial
    order: np.ndarray  # (V, K) gallery indices, -1 past the end
    similarity: np.ndarray  # (V, K)
    right: np.ndarray  # (V, K) bool
    first: np.ndarray  # (V,) rank of the first match, from 1
    scores: Scores


def rank_queries(results: Results, trial: Trial) -> RankedQueries:
    """Ranks the gallery of a trial, the first of its row, for each query that has a match."""
    query, gallery = results.embeddings.of(trial.query), results.embeddings.of(trial.gallery)
    if results.similarity is None:
        similarities: Callable[[slice], np.ndarray] = lambda rows: query[rows] @ gallery.T  # noqa: E731
    else:
        similarities = compare(results.similarity, query, gallery, trial)
    query_ids, gallery_ids = labels(trial.query)[0], labels(trial.gallery)[0]
    top = min(TOP, len(gallery))
    chunk = max(1, PAIRS_PER_CHUNK // len(gallery))
    parts: list[tuple[np.ndarray, ...]] = []
    for start in range(0, len(query), chunk):
        rows = slice(start, min(start + chunk, len(query)))
        similarity = similarities(rows)
        order, kept = rank_gallery(similarity, trial, rows)
        counts = np.arange(order.shape[1]) < kept[:, None]
        right = (gallery_ids[order] == query_ids[rows, None]) & counts
        valid = np.flatnonzero(right.any(axis=1))
        shown = np.where(counts[valid, :top], order[valid, :top], -1)
        near = np.take_along_axis(similarity[valid], order[valid, :top], axis=1)
        parts.append((start + valid, shown, near, right[valid, :top], right[valid].argmax(axis=1) + 1))
    query_rows, order, near, right, first = map(np.concatenate, zip(*parts, strict=True))
    return RankedQueries(query_rows, order, near, right, first, results.scores[0])


def select_lists(
    ranked: RankedQueries, trial: Trial, shown: Shown, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], list[list[str]]]:
    """Selects queries of each kind.

    Args:
        ranked: the queries.
        trial: their trial.
        shown: the images to show, to which theirs are added.
        rng: selects the random ones.

    Returns:
        The top of their lists, and the kinds of each list.
    """
    ap = ranked.scores.ap
    by_ap = np.lexsort((np.arange(len(ap)), ap))
    # one query per identity, so that a hard identity does not take all places
    persons = ranked.scores.identities
    one_each = by_ap[np.sort(np.unique(persons[by_ap], return_index=True)[1])]
    best_each = by_ap[::-1][np.sort(np.unique(persons[by_ap[::-1]], return_index=True)[1])]
    random = np.sort(rng.choice(len(ap), min(LISTS, len(ap)), replace=False))
    chosen = {'worst': one_each[:LISTS], 'best': best_each[:LISTS], 'random': random}
    others = [int(np.flatnonzero(persons == person)[0]) for person in np.unique(persons)]  # at least one per identity
    rows = list(dict.fromkeys([*map(int, np.concatenate(list(chosen.values()))), *others]))
    kinds = [[kind for kind, members in chosen.items() if row in members] for row in rows]
    gallery = [[shown.add(trial.gallery[index]) if index >= 0 else -1 for index in ranked.order[row]] for row in rows]
    return {
        'query': np.array([shown.add(trial.query[ranked.query[row]]) for row in rows], dtype=np.int64),
        'gallery': np.array(gallery, dtype=np.int64),
        'similarity': ranked.similarity[rows].astype(np.float32),
        'right': ranked.right[rows],
        'ap': ap[rows],
        'first': ranked.first[rows],
    }, kinds
