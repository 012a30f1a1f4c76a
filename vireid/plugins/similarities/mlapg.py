"""MLAPG: metric learning by accelerated proximal gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge

from vireid.console.warn import warn_once
from vireid.console.wording import counted
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE
from vireid.errors import Mismatch, NotReady, TooFew
from vireid.plugins.similarities.hcml import principal_axes, sigmoid, squared

DOUBLINGS = 60  # after which a step is negligible
MATRICES = 6  # (n, m) matrices in memory at once


class MLAPG:
    """A Mahalanobis metric across the modalities, learned from fixed features (Liao and Li, ICCV 2015).

    See doi 10.1109/ICCV.2015.420.

    Let x_i be the n visible and z_j the m infrared images, D_M(x, z) = (x - z)^T M (x - z) their squared distance, mu
    the mean of D_I over all pairs, and y_ij = 1 for the same identity, else -1. The objective is

        F(M) = sum_ij w_ij log(1 + exp(y_ij (D_M(x_i, z_j) - mu))),

    where w_ij is 1 / (number of positive pairs) or 1 / (number of negative pairs), so the few positive pairs weigh as
    much as the many negative ones. M is positive semidefinite. A step goes from V = M_t-1 + c (M_t-1 - M_t-2), where c
    is the momentum of FISTA, to the projection of V - grad F(V) / L onto the positive semidefinite matrices. L doubles
    until F(M) <= F(V) + <M - V, grad F(V)> + L/2 |M - V|^2. A step that would increase F is repeated from M_t-1 without
    momentum. M starts at the identity.

    Features are first reduced by PCA and scaled to mu = 1. L starts small and only grows, so that without scaling, the
    steps for features of small variance would be too short. Everything is computed in float64.

    Args:
        dims: number of principal components, at least 1 and limited by the data's rank; None keeps all.
        iterations: maximum number of iterations, at least 1.
        tolerance: optimization stops when the objective decreases by less than this fraction, at least 0.
        max_pairs: largest n x m, at least 1. With more training images, each identity's images are sampled, the same
            number at most for all identities and both modalities. Fitting takes about 50 bytes per pair.
        seed: random seed of this sample, at least 0.
        scale: scale features to mu = 1; False leaves them as they are.
    """

    name = 'MLAPG'

    def __init__(
        self,
        dims: Annotated[int, Ge(1)] | None = 600,
        iterations: Annotated[int, Ge(1)] = 300,
        tolerance: Annotated[float, Ge(0)] = 1e-4,
        max_pairs: Annotated[int, Ge(1)] = 10_000_000,
        seed: Annotated[int, Ge(0)] = 0,
        scale: bool = True,
    ) -> None:
        self.dims, self.iterations, self.tolerance = dims, iterations, tolerance
        self.max_pairs, self.seed, self.scale = max_pairs, seed, scale
        self.objective: list[float] = []  # before the first iteration and after each one
        self.center = np.zeros(0)
        self.projection: np.ndarray | None = None

    def fit(self, embeddings: Embeddings) -> None:
        """Fits the metric to the embeddings of the training images.

        With a single identity there are no negative pairs, so nothing is separated.

        Raises:
            VireidError: if no identity has images of both modalities, or even one image per identity and modality makes
                more than `max_pairs` pairs.
        """
        rows = {m: [i for i, s in enumerate(embeddings.samples) if s.modality == m] for m in (VISIBLE, INFRARED)}
        identities = [np.array([embeddings.samples[i].identity for i in rows[m]]) for m in (VISIBLE, INFRARED)]
        if not np.isin(identities[0], identities[1]).any():
            raise TooFew(
                'MLAPG needs identities with images of both modalities, but the training images have none',
                todo='train on a split with both, or use cosine similarity: evaluation.similarity=None',
            )
        kept = self._sample(identities)
        visible, infrared = (
            embeddings.features[np.array(rows[m])[k]].astype(np.float64)
            for m, k in zip((VISIBLE, INFRARED), kept, strict=True)
        )
        features = np.concatenate([visible, infrared])
        self.center = features.mean(axis=0)
        features -= self.center
        axes = axes_of(features, self.dims)  # (D, d)
        reduced = features @ axes
        x, z = reduced[: len(visible)], reduced[len(visible) :]
        same = identities[0][kept[0]][:, None] == identities[1][kept[1]][None, :]
        mu = float(squared(x, z).mean())
        unit = mu**-0.5 if self.scale and mu > 0 else 1.0
        pairs = Pairs(x * unit, z * unit, same)
        self.projection = axes @ (unit * self._learn(pairs))

    def _sample(self, identities: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the visible and the infrared images to fit to, at most `max_pairs` pairs."""
        n, m = (len(of) for of in identities)
        if n * m <= self.max_pairs:
            return [np.arange(n), np.arange(m)]
        counts = [np.unique(of, return_counts=True)[1] for of in identities]

        def pairs(images: int) -> int:
            return int(np.prod([np.minimum(of, images).sum() for of in counts]))

        images = max((k for k in range(1, max(of.max() for of in counts)) if pairs(k) <= self.max_pairs), default=0)
        if not images:
            raise Mismatch(
                f'MLAPG has {pairs(1):,} pairs of images even with one image per identity and modality',
                allowed=f'at most max_pairs={self.max_pairs:,}',
                todo=f'set evaluation.similarity.max_pairs={pairs(1)}',
            )
        rng = np.random.default_rng(self.seed)
        kept = []
        for of in identities:
            order = rng.permutation(len(of))
            chosen = [order[of[order] == identity][:images] for identity in np.unique(of)]
            kept.append(np.sort(np.concatenate(chosen)))
        warn_once(
            f'MLAPG: {n:,} x {m:,} pairs of training images would take {n * m * 8 / 1e9:.2g} GB a matrix, {MATRICES} '
            f'at once; it is fitted to {len(kept[0]):,} x {len(kept[1]):,} pairs, at most {counted(images, "image")} '
            f'of each identity and modality, drawn with seed {self.seed}. For more, set evaluation.similarity.max_pairs'
        )
        return kept

    def _learn(self, pairs: Pairs) -> np.ndarray:
        """Returns the (d, r) P of the metric M = P P^T."""
        m = before = p = np.eye(pairs.x.shape[1])
        distances = earlier = pairs.distances(p)
        pairs.mu = float(distances.mean())
        momentum, lipschitz = 0.0, 1 / 2**8
        self.objective = [pairs.value(distances)]
        for _ in range(self.iterations):
            after = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = (momentum - 1) / after if momentum else 0.0
            # distances are linear in the metric
            step = proximal_step(pairs, m + ahead * (m - before), distances + ahead * (distances - earlier), lipschitz)
            if step.value > self.objective[-1]:  # momentum overshot
                after = 1.0
                step = proximal_step(pairs, m, distances, step.lipschitz)
                if step.value > self.objective[-1]:
                    break
            before, m, p, momentum, lipschitz = m, step.m, step.p, after, step.lipschitz
            earlier, distances = distances, step.distances
            self.objective.append(step.value)
            if self.objective[-2] - step.value < self.tolerance * self.objective[-2]:
                break
        return p

    def similarity(self, query: np.ndarray, gallery: np.ndarray) -> Callable[[slice], np.ndarray]:
        """Returns a function that maps a slice of the queries to their (q, G) negative squared distances.

        Args:
            query: (Q, D) embeddings.
            gallery: (G, D) embeddings.

        Raises:
            NotReady: if `fit` was not called.
        """
        if self.projection is None:
            raise NotReady('MLAPG was not fitted', todo='call fit with the embeddings of the training images')
        left, right = ((of.astype(np.float64) - self.center) @ self.projection for of in (query, gallery))
        return lambda rows: -squared(left[rows], right)  # (q, G)

    def state_dict(self) -> dict[str, Any]:
        """Returns the learned state: the mean feature, and the (D, r) projection."""
        if self.projection is None:
            return {}
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in ('center', 'projection')}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state that `state_dict` returned."""
        self.center, self.projection = state['center'].numpy(), state['projection'].numpy()


class Pairs:
    """All pairs of a visible and an infrared image.

    Args:
        x: (n, d) visible features.
        z: (m, d) infrared features.
        same: (n, m) bool, which pairs have the same identity; at least one has.

    Attributes:
        mu: the distance between similar and dissimilar pairs.
    """

    def __init__(self, x: np.ndarray, z: np.ndarray, same: np.ndarray) -> None:
        self.x, self.z, self.same = x, z, same
        positive = int(same.sum())
        self.weights = 1 / positive, 1 / max(same.size - positive, 1)
        self.mu = 0.0

    def distances(self, p: np.ndarray) -> np.ndarray:
        """Returns the (n, m) squared distances under the metric P P^T."""
        return squared(self.x @ p, self.z @ p)

    def value(self, distances: np.ndarray) -> float:
        """Returns F; the metric may have negative eigenvalues, as at the point a step with momentum starts from."""
        costs = np.logaddexp(0, self._margins(distances))
        positive = float(costs[self.same].sum())
        return self.weights[0] * positive + self.weights[1] * (float(costs.sum()) - positive)

    def gradient(self, distances: np.ndarray) -> np.ndarray:
        """Returns the (d, d) gradient of F for the metric."""
        slopes = sigmoid(self._margins(distances))
        slopes *= np.where(self.same, self.weights[0], -self.weights[1])  # (n, m)
        crossed = self.x.T @ slopes @ self.z
        own = (self.x.T * slopes.sum(axis=1)) @ self.x + (self.z.T * slopes.sum(axis=0)) @ self.z
        return own - crossed - crossed.T

    def _margins(self, distances: np.ndarray) -> np.ndarray:
        margins = distances - self.mu
        return np.negative(margins, out=margins, where=~self.same)


@dataclass(frozen=True)
class Step:
    """The end of a proximal step.

    Attributes:
        m: (d, d) metric, symmetric and positive semidefinite.
        p: (d, r) with M = P P^T; r may be 0.
        distances: (n, m) squared distances under the metric.
        value: F.
        lipschitz: the last estimate of the Lipschitz constant.
    """

    m: np.ndarray
    p: np.ndarray
    distances: np.ndarray
    value: float
    lipschitz: float


def proximal_step(pairs: Pairs, start: np.ndarray, distances: np.ndarray, lipschitz: float) -> Step:
    """Takes a proximal gradient step onto the positive semidefinite matrices.

    Args:
        pairs: the pairs.
        start: (d, d) symmetric matrix to step from.
        distances: (n, m) squared distances under `start`.
        lipschitz: estimate of the Lipschitz constant; it is doubled until its bound holds.
    """
    gradient, value = pairs.gradient(distances), pairs.value(distances)
    for _ in range(DOUBLINGS):
        values, vectors = np.linalg.eigh(start - gradient / lipschitz)
        kept = values > 0
        p = vectors[:, kept] * np.sqrt(values[kept])
        m, apart = p @ p.T, pairs.distances(p)
        step = Step(m, p, apart, pairs.value(apart), lipschitz)
        moved = m - start
        if step.value <= value + (moved * gradient).sum() + lipschitz / 2 * np.square(moved).sum():
            break
        lipschitz *= 2
    return step


def axes_of(centered: np.ndarray, dims: int | None) -> np.ndarray:
    """Returns the (D, d) axes of largest variance of (N, D) features with mean 0, for any D.

    Axes without variance are dropped.
    """
    if centered.shape[1] <= len(centered):
        return principal_axes(centered, dims)
    # X X^T has the eigenvalues of X^T X, and is smaller
    axes = centered.T @ principal_axes(centered.T, dims)
    return axes / np.linalg.norm(axes, axis=0).clip(min=np.finfo(float).tiny)
