"""HCML: hierarchical cross-modality metric learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from vireid.core.errors import VireidError
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Modality, Sample, Trial

HALVINGS = 40  # of a step, until it is as good as none


class HCML:
    """A metric for each modality and a shared one on top, learnt jointly from fixed features (Ye, AAAI 2018).

    V and T map visible and infrared features into one space, M = P P^T compares them there: an image x and an image z
    are at the squared distance |P^T (V^T x - T^T z)|^2. With x_i and z_j the means of an identity's images in a
    modality, mu the mean of the first |x_i - z_j|^2 and y_ij = 1 for one identity, else -1, what is minimised is

        sum_ij w_ij log(1 + exp(y_ij (|P^T (V^T x_i - T^T z_j)|^2 - mu)))
        + specific_weight * (mean_x log(1 + exp(|V^T (x - x_i)|^2)) + mean_z log(1 + exp(|T^T (z - z_j)|^2))).

    w_ij is 1 / (pairs of one identity) or 1 / (pairs of two). The first line tells identities apart, the second holds
    the images of one together within each modality. M takes proximal gradient steps with momentum onto the positive
    semidefinite matrices, V and T gradient steps, by turns, all from the identity; no step lets the objective rise.
    Features are reduced by PCA before. All is float64. An iteration on SYSU-MM01 takes some seconds of a CPU core.

    Args:
        dims: principal components that are kept, at least 1; never more than features or images; None keeps all.
        specific_weight: of the modality-specific terms, at least 0.
        iterations: at most so many, at least 1.
        tolerance: it ends when the objective falls by less than this share.
        step: first step of V and T, above 0.
        decay: factor of that step after each iteration, 0 to 1 (0 exclusive).
    """

    name = 'HCML'

    def __init__(
        self,
        dims: int | None = 600,
        specific_weight: float = 0.2,
        iterations: int = 300,
        tolerance: float = 1e-6,
        step: float = 0.1,
        decay: float = 0.95,
    ) -> None:
        for name, value, least in (('dims', dims, 1), ('iterations', iterations, 1)):
            if value is not None and value < least:
                raise VireidError(f'{name} is {value}', allowed=f'an integer of at least {least}')
        for name, number in (('specific_weight', specific_weight), ('tolerance', tolerance)):
            if number < 0:
                raise VireidError(f'{name} is {number}', allowed='a number of at least 0')
        if step <= 0:
            raise VireidError(f'step is {step}', allowed='a number above 0')
        if not 0 < decay <= 1:
            raise VireidError(f'decay is {decay}', allowed='0 (exclusive) to 1')
        self.dims, self.specific_weight, self.iterations = dims, specific_weight, iterations
        self.tolerance, self.step, self.decay = tolerance, step, decay
        self.objective: list[float] = []  # before the first iteration, and after each
        self.center = np.zeros(0)
        self.projections: dict[Modality, np.ndarray] = {}

    def fit(self, embeddings: Embeddings) -> None:
        """Learns from the training images.

        Raises:
            VireidError: if no identity has images of both modalities. If there is one identity, nothing is told apart.
        """
        features = embeddings.features.astype(np.float64)
        self.center = features.mean(axis=0)
        reduction = principal_axes(features - self.center, self.dims)  # (D, d)
        reduced = (features - self.center) @ reduction
        means, residuals, people = {}, {}, {}
        for modality in (VISIBLE, INFRARED):
            rows = np.array([i for i, s in enumerate(embeddings.samples) if s.modality == modality], dtype=np.int64)
            identities = np.array([embeddings.samples[i].identity for i in rows], dtype=np.int64)
            people[modality], index, counts = np.unique(identities, return_inverse=True, return_counts=True)
            sums = np.zeros((len(counts), reduced.shape[1]))
            np.add.at(sums, index, reduced[rows])
            means[modality] = sums / counts[:, None]
            residuals[modality] = reduced[rows] - means[modality][index]
        same = people[VISIBLE][:, None] == people[INFRARED][None, :]
        if not same.any():
            raise VireidError(
                'HCML learns from identities with images of both modalities, and the training images have none',
                todo='train on a split with both, or compare by cosine: evaluation.similarity=None',
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
            found, lipschitz = proximal_step(shared, v, t, ahead, lipschitz)
            if shared.value(v, t, found) > shared.value(v, t, m):  # momentum went too far: begin again without
                after = 1.0
                found, lipschitz = proximal_step(shared, v, t, m, lipschitz)
                if shared.value(v, t, found) > shared.value(v, t, m):
                    found = m
            before, m, momentum = m, found, after
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
        """Prepares (Q, D) and (G, D) embeddings; the result gives the negative squared distances of some queries.

        Raises:
            VireidError: if nothing was fitted.
        """
        if not self.projections:
            raise VireidError('HCML was not fitted', todo='call fit with the embeddings of the training images')
        left, right = self._project(query, trial.query), self._project(gallery, trial.gallery)
        return lambda rows: -squared(left[rows], right)  # (q, G)

    def _project(self, features: np.ndarray, samples: tuple[Sample, ...]) -> np.ndarray:
        """Maps (N, D) features, each by the metric of its own modality, whatever its role."""
        centered = features.astype(np.float64) - self.center
        visible = np.array([s.modality == VISIBLE for s in samples])[:, None]
        return np.where(visible, centered @ self.projections[VISIBLE], centered @ self.projections[INFRARED])

    def state_dict(self) -> dict[str, Any]:
        """Returns what was learnt: the center of the features, and the (D, r) projection of each modality."""
        named = {f'projection.{m}': found for m, found in self.projections.items()} | {'center': self.center}
        return {name: torch.from_numpy(found.copy()) for name, found in named.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what `state_dict` returned."""
        self.center = state['center'].numpy()
        self.projections = {m: state[f'projection.{m}'].numpy() for m in (VISIBLE, INFRARED)}


class SharedTerm:
    """The modality-shared term: logistic losses of pairs of identity means.

    Args:
        visible: (V, d) means of the identities' visible images.
        infrared: (I, d) means of the infrared ones.
        same: (V, I) bool, which pairs are of one identity.
    """

    def __init__(self, visible: np.ndarray, infrared: np.ndarray, same: np.ndarray) -> None:
        self.visible, self.infrared = visible, infrared
        self.sign = np.where(same, 1.0, -1.0)
        self.weights = np.where(same, 1 / same.sum(), 1 / max((~same).sum(), 1))
        self.mu = squared(visible, infrared).mean()

    def value(self, v: np.ndarray, t: np.ndarray, m: np.ndarray) -> float:
        """Returns the term; M may have negative eigenvalues, as it has ahead of a step."""
        return float((self.weights * np.logaddexp(0, self._margins(v, t, m))).sum())

    def gradients(self, v: np.ndarray, t: np.ndarray, m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the (d, d) gradients for V, T and M; M's counts each of its entries by itself."""
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
    """A modality-specific term: logistic losses of images against the mean of their identity.

    Args:
        residuals: (N, d) images less that mean.
    """

    def __init__(self, residuals: np.ndarray) -> None:
        self.residuals = residuals
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def value(self, v: np.ndarray) -> float:
        """Returns the term for a (d, d) metric."""
        return float(np.logaddexp(0, np.square(self._mapped(v)).sum(axis=1)).mean())

    def gradient(self, v: np.ndarray) -> np.ndarray:
        """Returns its (d, d) gradient."""
        mapped = self._mapped(v)
        slopes = sigmoid(np.square(mapped).sum(axis=1)) / len(mapped)
        return 2 * self.residuals.T @ (slopes[:, None] * mapped)

    def _mapped(self, v: np.ndarray) -> np.ndarray:
        # nearly all of the time goes here, and value and gradient ask for the same metric
        if self._last is None or self._last[0] is not v:
            self._last = v, self.residuals @ v
        return self._last[1]


def proximal_step(
    shared: SharedTerm, v: np.ndarray, t: np.ndarray, ahead: np.ndarray, lipschitz: float
) -> tuple[np.ndarray, float]:
    """Steps from `ahead` to a positive semidefinite M; the Lipschitz constant doubles until its bound holds."""
    gradient, value = shared.gradients(v, t, ahead)[2], shared.value(v, t, ahead)
    for _ in range(HALVINGS):
        values, vectors = np.linalg.eigh(ahead - (gradient + gradient.T) / (2 * lipschitz))
        found = (vectors * values.clip(min=0)) @ vectors.T
        moved = found - ahead
        if shared.value(v, t, found) <= value + (moved * gradient).sum() + lipschitz / 2 * np.square(moved).sum():
            break
        lipschitz *= 2
    return found, lipschitz


def descend(
    at: tuple[np.ndarray, np.ndarray, np.ndarray],
    which: int,
    shared: SharedTerm,
    specific: SpecificTerm,
    weight: float,
    rate: float,
) -> np.ndarray:
    """Steps from V (`which` is 0) or T (1) against its gradient; the step is halved until nothing rises.

    Args:
        at: V, T and M.
        which: the one that moves.
        shared: the shared term.
        specific: the specific term of the one that moves.
        weight: factor of the specific term.
        rate: the first step.
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
    """Returns the (D, d) axes of the largest variance of (N, D) features whose mean is 0."""
    values, vectors = np.linalg.eigh(centered.T @ centered)
    # without variance there is nothing to learn from; rounding leaves a little of it
    rank = int((values > 1e-10 * values.max(initial=0)).sum())
    kept = max(1, min(rank, dims or rank))
    return vectors[:, ::-1][:, :kept]


def squared(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns the (N, M) squared Euclidean distances of (N, d) and (M, d) vectors."""
    return np.square(rows).sum(axis=1)[:, None] + np.square(columns).sum(axis=1)[None, :] - 2 * rows @ columns.T


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return (1 + np.tanh(x / 2)) / 2
