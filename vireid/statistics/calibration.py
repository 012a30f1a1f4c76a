"""What a similarity means: the probability that a hit shows the person of the query, if the gallery has that person.

Also estimates whether the gallery has the person at all. Both are estimated from people that the model was not trained
on, and depend on how many people are searched: the more strangers there are, the more similar the best of them is.
`benchmarks/calibration.py` measures how well this holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

FEWEST = 5  # people; fewer say next to nothing about others
HITS = 20  # of each query: those that a search shows
PARTS = (0.25, 0.35, 0.5, 0.7, 1.0)  # of the people, to see how galleries of different sizes differ
DRAWS = 6  # of the people of each smaller gallery
RARE = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)  # shares of the queries whose best stranger is more similar
FLAT = 0.1  # a slope below it says nothing: similarities 0 and 1 differ by a tenth in log odds


@dataclass(frozen=True)
class Side:
    """A calibration for queries of one modality.

    The log odds that a hit with similarity s is the person of the query are slope s + offset - growth log(people).

    Attributes:
        slope, offset, growth: see above.
        images: gallery images per person.
        place, scale: mean and standard deviation of the best similarity of a query to one stranger, taken as normal.
    """

    slope: float
    offset: float
    growth: float
    images: float
    place: float
    scale: float

    def people(self, images: int) -> float:
        """Returns the number of people in a gallery, at least 2, if each has as many images as those it was fitted to.

        Args:
            images: number of gallery images of the modality that the query does not have.
        """
        return max(2.0, images / self.images)

    def probability(self, similarity: np.ndarray, images: int) -> np.ndarray:
        """Returns the probability of hits to show the person of the query, if the gallery has that person.

        Args:
            similarity: cosine similarities of a query and its hits, the 20 most similar images.
            images: number of gallery images of the other modality.
        """
        from scipy.special import expit  # slow to import; training needs it only at its end

        scores = np.asarray(similarity, dtype=np.float64)
        return expit(self.slope * scores + self.offset - self.growth * math.log(self.people(images)))

    def threshold(self, rate: float, images: int) -> float:
        """Returns the similarity that the best hit exceeds for a share `rate` of the queries of absent people.

        The best similarities of strangers are taken as independent and normal.

        Args:
            rate: the false-alarm rate, in (0, 1).
            images: number of gallery images of the other modality.
        """
        from scipy.special import ndtri

        return self.place + self.scale * float(ndtri((1 - rate) ** (1 / self.people(images))))


@dataclass(frozen=True)
class Calibration:
    """A calibration of the cosine similarities of a model, between a visible and an infrared image; made by `fit`.

    Attributes:
        people: number of people it was fitted to.
        visible: for visible queries and infrared hits.
        infrared: for infrared queries and visible hits.
    """

    people: int
    visible: Side
    infrared: Side

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Calibration:
        """Returns the calibration that `to_dict` described."""
        return cls(content['people'], Side(**content['visible']), Side(**content['infrared']))

    def to_dict(self) -> dict[str, Any]:
        """Returns its numbers by name."""
        return asdict(self)

    def side(self, modality: str) -> Side:
        """Returns the calibration for queries of a modality."""
        return self.visible if modality == 'visible' else self.infrared


def fit(similarity: np.ndarray, visible: np.ndarray, infrared: np.ndarray) -> Calibration | None:
    """Fits a calibration to images of people that the model was not trained on.

    Each image is a query among those of the other modality. A logistic regression (Platt 1999) of whether a hit is
    right on its similarity and the number of people is fitted to the hits in galleries of all people and of random
    parts of them; hits, not all pairs, because a hit is more often right than another pair of the same similarity.

    Args:
        similarity: (V, I) cosine similarities.
        visible: (V,) identity of each visible image.
        infrared: (I,) identity of each infrared image.

    Returns:
        The calibration; None if fewer than five people were seen by both modalities, or the similarity of a pair says
        nothing about it.
    """
    people = np.intersect1d(visible, infrared)
    if len(people) < FEWEST:
        return None
    kept, others = np.isin(visible, people), np.isin(infrared, people)
    similarity = similarity[kept][:, others].astype(np.float64)
    sides = (
        _fit_side(similarity, visible[kept], infrared[others]),
        _fit_side(similarity.T, infrared[others], visible[kept]),
    )
    return None if min(side.slope for side in sides) < FLAT else Calibration(len(people), *sides)


def expected_error(probability: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Returns the expected calibration error: mean distance of probability and frequency, over bins of equal width.

    Args:
        probability: (N,) in [0, 1].
        right: (N,) bool.
        bins: number of bins.
    """
    count, mean, share = reliability(probability, right, bins)
    return float((count * np.abs(mean - share)).sum() / len(right))


def reliability(probability: np.ndarray, right: np.ndarray, bins: int = 10) -> np.ndarray:
    """Returns the reliability curve: a (3, B) array of the count, the mean probability and the share that is right.

    Args:
        probability: (N,) in [0, 1].
        right: (N,) bool.
        bins: number of bins of equal width; empty ones are left out.
    """
    place = np.minimum((probability * bins).astype(int), bins - 1)
    count, total, correct = (
        np.bincount(place, values, bins) for values in (np.ones(len(place)), probability, right.astype(np.float64))
    )
    kept = count > 0
    return np.stack([count[kept], total[kept] / count[kept], correct[kept] / count[kept]])


def top_hits(similarity: np.ndarray, most: int = HITS) -> np.ndarray:
    """Returns the (Q, k) columns of the `most` largest values of each row, in no order."""
    most = min(most, similarity.shape[1])
    return np.argpartition(-similarity, most - 1, axis=1)[:, :most]


def _fit_side(similarity: np.ndarray, queries: np.ndarray, gallery: np.ndarray) -> Side:
    people = np.unique(gallery)
    scores, counts, right, weights = map(np.concatenate, zip(*_galleries(similarity, queries, gallery), strict=True))
    slope, growth, offset = _logistic(np.stack([10 * scores, -np.log(counts)], axis=1), right, weights)
    best = np.stack([similarity[:, gallery == person].max(axis=1) for person in people], axis=1)
    place, scale = _fit_strangers(best, queries[:, None] != people[None])
    return Side(10 * slope, offset, growth, len(gallery) / len(people), place, scale)


def _fit_strangers(best: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Returns the mean and the standard deviation of the best similarity of a query to one stranger.

    Each is the mean of two estimates: from all strangers, whose upper tail is shorter than that of a normal
    distribution, and from the best stranger of each query, of whom there are few.

    Args:
        best: (Q, P) best similarity of each query to each person.
        others: (Q, P) bool, whether the person is not that of the query.
    """
    from scipy.special import ndtri

    every, most = best[others], np.where(others, best, -np.inf).max(axis=1)
    rare = np.array(RARE)
    scale, place = np.polyfit(ndtri((1 - rare) ** (1 / (best.shape[1] - 1))), np.quantile(most, 1 - rare), 1)
    return float(every.mean() + place) / 2, float(every.std() + scale) / 2


def _galleries(
    similarity: np.ndarray, queries: np.ndarray, gallery: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yields the hits in galleries of some people: similarity, number of people, whether right, and weight of each."""
    people, rng = np.unique(gallery), np.random.default_rng(0)
    for size in sorted({max(2, round(len(people) * part)) for part in PARTS}):
        draws = 1 if size == len(people) else DRAWS
        for _ in range(draws):
            chosen = rng.permutation(people)[:size]
            rows, columns = np.isin(queries, chosen), np.isin(gallery, chosen)
            own = similarity[rows][:, columns]
            top = top_hits(own)
            scores = np.take_along_axis(own, top, axis=1).ravel()
            right = (queries[rows][:, None] == gallery[columns][top]).ravel()
            yield scores, np.full(len(scores), float(size)), right, np.full(len(scores), 1 / draws)


def _logistic(inputs: np.ndarray, right: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """Fits a logistic regression of two inputs; a standard normal prior on their weights keeps them finite."""
    from scipy.optimize import minimize
    from scipy.special import expit, log_expit

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slopes, offset = parameters[:2], parameters[2]
        odds = inputs @ slopes + offset
        lost = -(weights * np.where(right, log_expit(odds), log_expit(-odds))).sum() + slopes @ slopes / 2
        error = weights * (expit(odds) - right)
        return lost, np.append(error @ inputs + slopes, error.sum())

    first, second, offset = minimize(loss, np.zeros(3), jac=True, method='BFGS').x
    return float(first), float(second), float(offset)
