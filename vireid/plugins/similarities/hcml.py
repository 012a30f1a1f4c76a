"""HCML: hierarchical cross-modality metric learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt, Le

from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Modality, Sample, Trial
from vireid.errors import NotReady, TooFew

HALVINGS = 40  # after which a step is negligible


class HCML:
    """A metric per modality and a shared metric on top, learned jointly from fixed features.

    From Ye et al., AAAI 2018, doi 10.1609/aaai.v32i1.12293. V and T map visible and infrared features into one space,
    where M = P P^T compares them: |P^T (V^T x - T^T z)|^2 is the squared distance of a visible image x and an infrared
    image z. Let x_i and z_j be the means of an identity's visible and infrared images, mu the mean of the initial
    |x_i - z_j|^2, and y_ij = 1 for the same identity, else -1. The objective is

        sum_ij w_ij log(1 + exp(y_ij (|P^T (V^T x_i - T^T z_j)|^2 - mu)))
        + specific_weight * (mean_x log(1 + exp(|V^T (x - x_i)|^2)) + mean_z log(1 + exp(|T^T (z - z_j)|^2))),

    where w_ij is 1 / (number of positive pairs) or 1 / (number of negative pairs). The first line separates identities;
    the second pulls the images of an identity together within each modality. Optimization alternates between M
    (proximal gradient steps with momentum, projected onto positive semidefinite matrices) and V and T (gradient steps).
    All start from the identity, and no step increases the objective. Features are first reduced by PCA. Everything is
    computed in float64. An iteration on SYSU-MM01 takes a few seconds on one CPU core.

    Args:
        dims: number of principal components, at least 1 and limited by the data's rank; None keeps all.
        specific_weight: weight of the modality-specific terms, at least 0.
        iterations: maximum number of iterations, at least 1.
        tolerance: optimization stops when the objective decreases by less than this fraction, at least 0.
        step: initial step size of V and T, above 0.
        decay: factor of that step size after each iteration, 0 (exclusive) to 1.
    """

    name = 'HCML'

    def __init__(
        self,
        dims: Annotated[int, Ge(1)] | None = 600,
        specific_weight: Annotated[float, Ge(0)] = 0.2,
        iterations: Annotated[int, Ge(1)] = 300,
        tolerance: Annotated[float, Ge(0)] = 1e-6,
        step: Annotated[float, Gt(0)] = 0.1,
        decay: Annotated[float, Gt(0), Le(1)] = 0.95,
    ) -> None:
        self.dims, self.specific_weight, self.iterations = dims, specific_weight, iterations
        self.tolerance, self.step, self.decay = tolerance, step, decay
        self.objective: list[float] = []  # before the first iteration and after each one
        self.center = np.zeros(0)
        self.projections: dict[Modality, np.ndarray] = {}

    def fit(self, embeddings: Embeddings) -> None:
        """Fits the metrics to the embeddings of the training images.

        With a single identity there are no negative pairs, so nothing is separated.

        Raises:
            TooFew: if no identity has images of both modalities.
        """
        features = embeddings.features.astype(np.float64)
        self.center = features.mean(axis=0)
        reduction = principal_axes(features - self.center, self.dims)  # (D, d)
        reduced = (features - self.center) @ reduction
        means, residuals, identities_of = {}, {}, {}
        for modality in (VISIBLE, INFRARED):
            rows = np.array([i for i, s in enumerate(embeddings.samples) if s.modality == modality], dtype=np.int64)
            identities = np.array([embeddings.samples[i].identity for i in rows], dtype=np.int64)
            identities_of[modality], index, counts = np.unique(identities, return_inverse=True, return_counts=True)
            sums = np.zeros((len(counts), reduced.shape[1]))
            np.add.at(sums, index, reduced[rows])
            means[modality] = sums / counts[:, None]
            residuals[modality] = reduced[rows] - means[modality][index]
        same = identities_of[VISIBLE][:, None] == identities_of[INFRARED][None, :]
        if not same.any():
            raise TooFew(
                'HCML needs identities with images of both modalities, but the training images have none',
                todo='train on a split with both, or use cosine similarity: evaluation.similarity=None',
            )
        specific = {m: SpecificTerm(residuals[m]) for m in (VISIBLE, INFRARED)}
        v, t, p = self._learn(SharedTerm(means[VISIBLE], means[INFRARED], same), specific)
        self.projections = {VISIBLE: reduction @ v @ p, INFRARED: reduction @ t @ p}

    def _learn(
        self, shared: SharedTerm, specific: Mapping[Modality, SpecificTerm]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns V, T and P."""
        v, t, m, before = (np.eye(shared.visible.shape[1]) for _ in range(4))
        momentum, lipschitz, rate = 1.0, 1 / 2**8, self.step
        terms = tuple(specific[modality] for modality in (VISIBLE, INFRARED))
        self.objective = [self._total(shared, terms, v, t, m)]
        for _ in range(self.iterations):
            after = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = m + (momentum - 1) / after * (m - before)
            new, lipschitz = proximal_step(shared, v, t, ahead, lipschitz)
            if shared.value(v, t, new) > shared.value(v, t, m):  # momentum overshot: restart without it
                after = 1.0
                new, lipschitz = proximal_step(shared, v, t, m, lipschitz)
                if shared.value(v, t, new) > shared.value(v, t, m):
                    new = m
            before, m, momentum = m, new, after
            v = descend((v, t, m), 0, shared, terms[0], self.specific_weight, rate)
            t = descend((v, t, m), 1, shared, terms[1], self.specific_weight, rate)
            rate *= self.decay
            self.objective.append(self._total(shared, terms, v, t, m))
            if self.objective[-2] - self.objective[-1] < self.tolerance * self.objective[-2]:
                break
        values, vectors = np.linalg.eigh(m)
        kept = values > 0
        return v, t, vectors[:, kept] * np.sqrt(values[kept])

    def _total(
        self, shared: SharedTerm, terms: tuple[SpecificTerm, ...], v: np.ndarray, t: np.ndarray, m: np.ndarray
    ) -> float:
        return shared.value(v, t, m) + self.specific_weight * (terms[0].value(v) + terms[1].value(t))

    def similarity(self, query: np.ndarray, gallery: np.ndarray, trial: Trial) -> Callable[[slice], np.ndarray]:
        """Returns a function that maps a slice of the queries to their (q, G) negative squared distances.

        Args:
            query: (Q, D) embeddings.
            gallery: (G, D) embeddings.
            trial: the trial, which knows the modality of each image.

        Raises:
            NotReady: if `fit` was not called.
        """
        if not self.projections:
            raise NotReady('HCML was not fitted', todo='call fit with the embeddings of the training images')
        left, right = self._project(query, trial.query), self._project(gallery, trial.gallery)
        return lambda rows: -squared(left[rows], right)  # (q, G)

    def _project(self, features: np.ndarray, samples: tuple[Sample, ...]) -> np.ndarray:
        """Projects (N, D) features, each with the metric of its modality, as query or gallery."""
        centered = features.astype(np.float64) - self.center
        visible = np.array([s.modality == VISIBLE for s in samples])[:, None]
        return np.where(visible, centered @ self.projections[VISIBLE], centered @ self.projections[INFRARED])

    def state_dict(self) -> dict[str, Any]:
        """Returns the learned state: the mean feature, and the (D, r) projection of each modality."""
        named = {f'projection.{m}': array for m, array in self.projections.items()} | {'center': self.center}
        return {name: torch.from_numpy(array.copy()) for name, array in named.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state that `state_dict` returned."""
        self.center = state['center'].numpy()
        self.projections = {m: state[f'projection.{m}'].numpy() for m in (VISIBLE, INFRARED)}


class SharedTerm:
    """The modality-shared term: logistic losses of pairs of identity means.

    Its methods take V, T and M, (d, d) each; see `HCML`.

    Args:
        visible: (V, d) means of the identities' visible images.
        infrared: (I, d) means of the identities' infrared images.
        same: (V, I) bool, which pairs have the same identity.
    """

    def __init__(self, visible: np.ndarray, infrared: np.ndarray, same: np.ndarray) -> None:
        self.visible, self.infrared = visible, infrared
        self.sign = np.where(same, 1.0, -1.0)
        self.weights = np.where(same, 1 / same.sum(), 1 / max((~same).sum(), 1))
        self.mu = squared(visible, infrared).mean()

    def value(self, v: np.ndarray, t: np.ndarray, m: np.ndarray) -> float:
        """Returns the term; M may have negative eigenvalues, as at the extrapolated point of a momentum step."""
        return float((self.weights * np.logaddexp(0, self._margins(v, t, m))).sum())

    def gradients(self, v: np.ndarray, t: np.ndarray, m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the (d, d) gradients for V, T and M; that of M ignores its symmetry."""
        a, b = self.visible @ v, self.infrared @ t
        slopes = self.weights * self.sign * sigmoid(self._margins(v, t, m))  # (V, I)
        to_a = slopes.sum(axis=1)[:, None] * a - slopes @ b  # sum_j slope_ij (a_i - b_j)
        to_b = slopes.sum(axis=0)[:, None] * b - slopes.T @ a
        return 2 * self.visible.T @ to_a @ m, 2 * self.infrared.T @ to_b @ m, a.T @ to_a + b.T @ to_b

    def _margins(self, v: np.ndarray, t: np.ndarray, m: np.ndarray) -> np.ndarray:
        a, b = self.visible @ v, self.infrared @ t
        am = a @ m
        distance = (am * a).sum(axis=1)[:, None] + ((b @ m) * b).sum(axis=1)[None, :] - 2 * am @ b.T
        return self.sign * (distance - self.mu)


class SpecificTerm:
    """A modality-specific term: logistic losses between images and the mean of their identity.

    Args:
        residuals: (N, d) features minus the mean of their identity.
    """

    def __init__(self, residuals: np.ndarray) -> None:
        self.residuals = residuals
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def value(self, v: np.ndarray) -> float:
        """Returns the term for a (d, d) metric."""
        return float(np.logaddexp(0, np.square(self._mapped(v)).sum(axis=1)).mean())

    def gradient(self, v: np.ndarray) -> np.ndarray:
        """Returns the (d, d) gradient."""
        mapped = self._mapped(v)
        slopes = sigmoid(np.square(mapped).sum(axis=1)) / len(mapped)
        return 2 * self.residuals.T @ (slopes[:, None] * mapped)

    def _mapped(self, v: np.ndarray) -> np.ndarray:
        # cached: this product dominates the run time, and value and gradient need it for the same metric
        if self._last is None or self._last[0] is not v:
            self._last = v, self.residuals @ v
        return self._last[1]


def proximal_step(
    shared: SharedTerm, v: np.ndarray, t: np.ndarray, ahead: np.ndarray, lipschitz: float
) -> tuple[np.ndarray, float]:
    """Takes a proximal gradient step onto the positive semidefinite matrices.

    Args:
        shared: the shared term.
        v: V.
        t: T.
        ahead: the point to step from.
        lipschitz: estimate of the Lipschitz constant; it is doubled until its bound holds.

    Returns:
        The new M, and the Lipschitz constant.
    """
    gradient, value = shared.gradients(v, t, ahead)[2], shared.value(v, t, ahead)
    for _ in range(HALVINGS):
        values, vectors = np.linalg.eigh(ahead - (gradient + gradient.T) / (2 * lipschitz))
        new = (vectors * values.clip(min=0)) @ vectors.T
        moved = new - ahead
        if shared.value(v, t, new) <= value + (moved * gradient).sum() + lipschitz / 2 * np.square(moved).sum():
            break
        lipschitz *= 2
    return new, lipschitz


def descend(
    at: tuple[np.ndarray, np.ndarray, np.ndarray],
    which: int,
    shared: SharedTerm,
    specific: SpecificTerm,
    weight: float,
    rate: float,
) -> np.ndarray:
    """Takes a gradient step of V or T, halving the step size until the objective does not increase.

    Args:
        at: V, T and M.
        which: 0 to update V, 1 to update T.
        shared: the shared term.
        specific: the specific term of the updated matrix.
        weight: weight of the specific term.
        rate: initial step size.
    """

    def value(new: np.ndarray) -> float:
        return shared.value(*(new if i == which else fixed for i, fixed in enumerate(at))) + weight * specific.value(
            new
        )

    gradient = shared.gradients(*at)[which] + weight * specific.gradient(at[which])
    first = value(at[which])
    for _ in range(HALVINGS):
        new = at[which] - rate * gradient
        if value(new) <= first:
            return new
        rate /= 2
    return at[which]


def principal_axes(centered: np.ndarray, dims: int | None) -> np.ndarray:
    """Returns the (D, d) axes of largest variance of (N, D) features with mean 0."""
    values, vectors = np.linalg.eigh(centered.T @ centered)
    # axes without variance are dropped; rounding leaves them a tiny one
    rank = int((values > 1e-10 * values.max(initial=0)).sum())
    kept = max(1, min(rank, dims or rank))
    return vectors[:, ::-1][:, :kept]


def squared(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns the (N, M) squared Euclidean distances of (N, d) and (M, d) vectors."""
    return np.square(rows).sum(axis=1)[:, None] + np.square(columns).sum(axis=1)[None, :] - 2 * rows @ columns.T


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return (1 + np.tanh(x / 2)) / 2
