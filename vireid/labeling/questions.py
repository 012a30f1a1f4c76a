"""What to ask next: the most certain proposal first, with a certainty that is fitted to the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vireid.core.types import INFRARED, VISIBLE
from vireid.labeling.people import People, Rows, TrackPair

CANDIDATES = 10  # each has a key: 1 to 9, and 0
# A confirmed group is asked about while a candidate has this certainty: if it lacks a modality, and if it has both.
MISSING, COMPLETE = 0.05, 0.1
DOUBTFUL = 0.4  # a proposed group is shown alone below this certainty
SKIPS = 2  # a group that was skipped this often is not asked about again
# What similarities mean before there are answers: the logit of "one person" is a + b * similarity, (a, b) by whether
# the groups share a modality; chosen with benchmarks/labeling.py.
WITHIN, ACROSS = (-4.0, 8.0), (-3.5, 8.0)
GRID = np.linspace(-0.5, 1.0, 16)
AT_ONCE = 512  # groups that are compared with all others at once; what fits into memory
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
        candidates: other groups, the most certain first.
        certainty: certainty of the proposal, 0 to 1.
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
        self._slots: dict[Rows, int] = {}  # where each group is in the arrays; only changed groups are compared again
        self._means = np.zeros((0, 2, features.shape[1]), dtype=np.float32)
        self._present = np.zeros((0, 2), dtype=bool)
        self._within = self._across = np.zeros((0, 0), dtype=np.float32)
        self._inputs: dict[TrackPair, np.ndarray] = {}

    def next(self, people: People) -> Question | None:
        """Returns the next question, None if all are answered or were skipped twice."""
        groups = people.members()
        if not groups:
            return None
        slots = self._compare(groups, people)
        weights = self._fit(people)
        apart = _groups_apart(groups, people)
        best = np.concatenate(
            [
                self._certainty(range(start, min(start + AT_ONCE, len(groups))), slots, apart, weights).max(axis=1)
                for start in range(0, len(groups), AT_ONCE)
            ]
        )
        confirmed = np.array([people.people[rows[0]] > 0 for rows in groups])
        skips = np.array([people.skips.get(rows, 0) for rows in groups])
        both = self._has(slots).all(axis=1)
        open_ = (~confirmed | (best >= np.where(both, COMPLETE, MISSING))) & (skips < SKIPS)
        if not open_.any():
            return None
        first = min(np.flatnonzero(open_).tolist(), key=lambda group: (skips[group], -best[group], groups[group]))
        inner = 1.0 if confirmed[first] else self._inner(groups[first], people, weights)
        if inner < DOUBTFUL or best[first] == 0:
            return Question('group', groups[first], (), inner)
        (sure,) = self._certainty(range(first, first + 1), slots, apart, weights)
        chosen = [group for group in np.argsort(-sure, kind='stable')[:CANDIDATES].tolist() if sure[group] > 0]
        candidates = tuple(Candidate(groups[group], float(sure[group])) for group in chosen)
        return Question('match', groups[first], candidates, candidates[0].certainty)

    def _mean(self, rows: Rows, people: People) -> np.ndarray:
        """Returns the (2, D) means of a group's visible and infrared tracks; zeros for a modality that it lacks."""
        means = np.zeros((2, self.features.shape[1]), dtype=np.float32)
        for place, modality in enumerate((VISIBLE, INFRARED)):
            members = [row for row in rows if people.tracks[row].modality == modality]
            if members:
                mean = self.features[members].mean(axis=0)
                means[place] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return means

    def _has(self, slots: np.ndarray) -> np.ndarray:
        """Returns (n, 2) bool, the modalities of groups."""
        return self._present[slots]

    def _compare(self, groups: list[Rows], people: People) -> np.ndarray:
        """Brings the mean similarities of groups up to date; returns the (G,) slots of the groups."""
        current = set(groups)
        for rows in [rows for rows in self._slots if rows not in current]:
            del self._slots[rows]
        new = [rows for rows in groups if rows not in self._slots]
        if len(groups) > len(self._means):  # a quarter more, for groups that are split
            size, old = len(groups) + len(groups) // 4, len(self._means)
            self._means = np.concatenate([self._means, np.zeros((size - old, *self._means.shape[1:]), np.float32)])
            self._present = np.pad(self._present, ((0, size - old), (0, 0)))
            self._within, self._across = (np.pad(each, (0, size - old)) for each in (self._within, self._across))
        used = set(self._slots.values())
        free = (slot for slot in range(len(self._means)) if slot not in used)
        self._slots |= {rows: next(free) for rows in new}
        slots = np.array([self._slots[rows] for rows in groups])
        if new:
            changed = np.array([self._slots[rows] for rows in new])
            self._means[changed] = [self._mean(rows, people) for rows in new]
            self._present[changed] = self._means[changed].any(axis=2)
            means, part = self._means[slots], self._means[changed]
            has, own = self._has(slots).astype(np.float32), self._has(changed).astype(np.float32)
            for matrix, order in ((self._within, [0, 1]), (self._across, [1, 0])):
                similar = np.zeros((len(changed), len(slots)), dtype=np.float32)
                for m in (0, 1):  # most groups have one modality
                    near, far = np.flatnonzero(own[:, m]), np.flatnonzero(has[:, order[m]])
                    similar[np.ix_(near, far)] += part[near, m] @ means[far, order[m]].T
                similar /= np.maximum(own @ has[:, order].T, 1)
                matrix[np.ix_(changed, slots)], matrix[np.ix_(slots, changed)] = similar, similar.T
        return slots

    def _fit(self, people: People) -> np.ndarray:
        """Returns the (4,) weights of a logistic regression on the assumptions and the answers about pairs."""
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
            for pair in people.pairs:
                if pair not in self._inputs:
                    self._inputs[pair] = self._pair(pair.first, pair.second, people)
            inputs.append(np.stack([self._inputs[pair] for pair in people.pairs]))
            targets += [pair.same for pair in people.pairs]
            weights += [1.0] * len(people.pairs)
        fitted = LogisticRegression(C=100.0, fit_intercept=False).fit(np.concatenate(inputs), targets, weights)
        return fitted.coef_[0]

    def _pair(self, first: Rows, second: Rows, people: People) -> np.ndarray:
        """Returns the (4,) input of the regression: whether there is a similarity, and its value, within and across."""
        one, other = self._mean(first, people), self._mean(second, people)
        has, others = np.abs(one).sum(axis=1) > 0, np.abs(other).sum(axis=1) > 0
        within, across = int((has & others).sum()), int((has & others[::-1]).sum())
        return np.array([
            within > 0, (one * other).sum() / max(within, 1), across > 0, (one * other[::-1]).sum() / max(across, 1)
        ], dtype=np.float64)  # fmt: skip

    def _certainty(self, part: range, slots: np.ndarray, apart: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Returns the (P, G) probabilities that some groups and each group show one person; 0 if they cannot."""
        own = slots[part.start : part.stop]
        has, others = self._has(own).astype(np.float32), self._has(slots).astype(np.float32)
        factors = weights.astype(np.float32)
        logit = factors[0] * (has @ others.T > 0) + factors[1] * self._within[np.ix_(own, slots)]
        logit += factors[2] * (has @ others[:, ::-1].T > 0) + factors[3] * self._across[np.ix_(own, slots)]
        sure = 1 / (1 + np.exp(-logit))
        first, last = np.searchsorted(apart[:, 0], (part.start, part.stop))
        sure[apart[first:last, 0] - part.start, apart[first:last, 1]] = 0
        sure[np.arange(len(part)), np.arange(part.start, part.stop)] = 0
        return sure

    def _inner(self, rows: Rows, people: People, weights: np.ndarray) -> float:
        """Returns the certainty that the least similar track of a group shows the person of the others."""
        if len(rows) < 2:
            return 1.0
        parts = [self._pair((row,), tuple(r for r in rows if r != row), people) for row in rows]
        return float(1 / (1 + np.exp(-min(float(part @ weights) for part in parts))))


def _groups_apart(groups: list[Rows], people: People) -> np.ndarray:
    """Returns (n, 2) pairs of groups that cannot show one person, sorted."""
    place = np.zeros(len(people.tracks), dtype=np.int64)
    for group, rows in enumerate(groups):
        place[list(rows)] = group
    return np.unique(place[np.argwhere(people.apart)], axis=0).reshape(-1, 2)
