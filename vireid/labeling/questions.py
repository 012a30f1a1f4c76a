"""What to ask next: the surest proposal first, with a certainty that is fitted to the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vireid.core.types import INFRARED, VISIBLE
from vireid.labeling.people import People, Rows

CANDIDATES = 6
# a group that somebody has confirmed is asked about while a candidate is that sure: if it lacks a modality, and if not
MISSING, COMPLETE = 0.05, 0.2
DOUBTFUL = 0.5  # a proposed group is shown alone if it is less sure
SKIPS = 2  # a group that was skipped this often is not asked about again
# What similarities mean before there are answers: the logit of "one person" is a + b * similarity, (a, b) by whether
# the groups share a modality; what benchmarks/labeling.py says about certainty was the guide.
WITHIN, ACROSS = (-4.0, 8.0), (-3.5, 8.0)
GRID = np.linspace(-0.5, 1.0, 16)
WEIGHT = 1.0  # of a point of the grid, in answers about pairs


@dataclass(frozen=True)
class Candidate:
    """A group that may show the person of a question, and the probability that it does."""

    rows: Rows
    certainty: float


@dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
        kind: `group`: do the tracks show one person; `match`: which of the candidates show the person of the tracks.
        rows: the tracks that it is about.
        candidates: other groups, the surest first.
        certainty: of the proposal, 0 to 1.
    """

    kind: Literal['group', 'match']
    rows: Rows
    candidates: tuple[Candidate, ...]
    certainty: float


class Questions:
    """Finds the next question.

    Args:
        features: (T, D) float32, those of each track, of norm 1.
    """

    def __init__(self, features: np.ndarray) -> None:
        self.features = features
        self._keys: dict[Rows, int] = {}  # the groups of the matrices
        self._within = self._across = np.zeros((0, 0), dtype=np.float32)
        self._has = np.zeros((0, 2), dtype=bool)

    def next(self, people: People) -> Question | None:
        """Returns the next question, None if all are answered or were skipped twice."""
        groups = people.members()
        if not groups:
            return None
        self._compare(groups, people)
        weights = self._fit(people)
        sure = self._certainty(groups, people, weights)
        confirmed = np.array([people.people[rows[0]] > 0 for rows in groups])
        skips = np.array([people.skips.get(rows, 0) for rows in groups])
        best = sure.max(axis=1)
        both = self._has.all(axis=1)
        open_ = (~confirmed | (best >= np.where(both, COMPLETE, MISSING))) & (skips < SKIPS)
        if not open_.any():
            return None
        order = sorted(np.flatnonzero(open_), key=lambda g: (skips[g], -best[g], groups[g]))
        first = int(order[0])
        doubtful = (
            not confirmed[first] and len(groups[first]) > 1 and self._inner(groups[first], people, weights) < DOUBTFUL
        )
        if doubtful or best[first] == 0:
            return Question('group', groups[first], (), self._inner(groups[first], people, weights))
        chosen = [int(g) for g in np.argsort(-sure[first], kind='stable')[:CANDIDATES] if sure[first, g] > 0]
        candidates = tuple(Candidate(groups[g], float(sure[first, g])) for g in chosen)
        return Question('match', groups[first], candidates, candidates[0].certainty)

    def _means(self, rows: Rows, people: People) -> np.ndarray:
        """Returns the (2, D) means of a group's visible and infrared tracks; zeros for a modality that it lacks."""
        means = np.zeros((2, self.features.shape[1]), dtype=np.float32)
        for place, modality in enumerate((VISIBLE, INFRARED)):
            own = [row for row in rows if people.tracks[row].modality == modality]
            if own:
                mean = self.features[own].mean(axis=0)
                means[place] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return means

    def _compare(self, groups: list[Rows], people: People) -> None:
        """Brings the (G, G) mean similarities within and across modalities up to date; only changed groups are new."""
        means = np.stack([self._means(rows, people) for rows in groups])  # (G, 2, D)
        has = np.abs(means).sum(axis=2) > 0
        old = np.array([self._keys.get(rows, -1) for rows in groups])
        kept, new = np.flatnonzero(old >= 0), np.flatnonzero(old < 0)
        within, across = (np.zeros((len(groups), len(groups)), dtype=np.float32) for _ in range(2))
        for matrix, before in ((within, self._within), (across, self._across)):
            matrix[np.ix_(kept, kept)] = before[np.ix_(old[kept], old[kept])]
        if len(new):
            part, partners = has[new].astype(np.float32), has.astype(np.float32)
            same = sum(means[new, m] @ means[:, m].T for m in (0, 1))
            other = sum(means[new, m] @ means[:, 1 - m].T for m in (0, 1))
            same /= np.maximum(part @ partners.T, 1)
            other /= np.maximum(part @ partners[:, ::-1].T, 1)
            within[new], within[:, new] = same, same.T
            across[new], across[:, new] = other, other.T
        self._keys = {rows: place for place, rows in enumerate(groups)}
        self._within, self._across, self._has = within, across, has

    def _fit(self, people: People) -> np.ndarray:
        """Returns the (4,) weights of a logistic regression on what is assumed, and on the answers about pairs."""
        from sklearn.linear_model import LogisticRegression

        grid = np.stack([np.ones_like(GRID), GRID, 0 * GRID, 0 * GRID], axis=1)
        inputs, targets, weights = [], [], []
        for points, (a, b) in ((grid, WITHIN), (grid[:, [2, 3, 0, 1]], ACROSS)):
            probable = 1 / (1 + np.exp(-(a + b * GRID)))
            for same, share in ((True, probable), (False, 1 - probable)):
                inputs.append(points)
                targets += [same] * len(points)
                weights += (WEIGHT * share).tolist()
        if people.pairs:
            inputs.append(np.stack([self._pair(pair.first, pair.second, people) for pair in people.pairs]))
            targets += [pair.same for pair in people.pairs]
            weights += [1.0] * len(people.pairs)
        fitted = LogisticRegression(C=100.0, fit_intercept=False).fit(np.concatenate(inputs), targets, weights)
        return fitted.coef_[0]

    def _pair(self, first: Rows, second: Rows, people: People) -> np.ndarray:
        """Returns the (4,) input of the regression: whether there is a similarity, and it, within and across."""
        one, other = self._means(first, people), self._means(second, people)
        has, others = np.abs(one).sum(axis=1) > 0, np.abs(other).sum(axis=1) > 0
        within, across = int((has & others).sum()), int((has & others[::-1]).sum())
        return np.array([
            within > 0, (one * other).sum() / max(within, 1), across > 0, (one * other[::-1]).sum() / max(across, 1)
        ], dtype=np.float64)  # fmt: skip

    def _certainty(self, groups: list[Rows], people: People, weights: np.ndarray) -> np.ndarray:
        """Returns the (G, G) probabilities that two groups show one person; 0 for those that cannot."""
        has = self._has.astype(np.float32)
        logit = weights[0] * (has @ has.T > 0) + weights[1] * self._within
        logit += weights[2] * (has @ has[:, ::-1].T > 0) + weights[3] * self._across
        sure = 1 / (1 + np.exp(-logit))
        place = np.zeros(len(people.tracks), dtype=np.int64)
        for group, rows in enumerate(groups):
            place[list(rows)] = group
        first, second = np.nonzero(people.apart)
        sure[place[first], place[second]] = 0
        np.fill_diagonal(sure, 0)
        return sure

    def _inner(self, rows: Rows, people: People, weights: np.ndarray) -> float:
        """Returns how sure it is that the least similar track of a group shows the person of the others."""
        if len(rows) < 2:
            return 1.0
        parts = [self._pair((row,), tuple(r for r in rows if r != row), people) for row in rows]
        return float(1 / (1 + np.exp(-min(float(part @ weights) for part in parts))))
