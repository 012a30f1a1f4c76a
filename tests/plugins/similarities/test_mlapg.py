"""MLAPG: objective and gradient against literal loops, monotonic steps, a second implementation, and bad input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vireid.console import warn
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import Mismatch, NotReady, TooFew
from vireid.plugins.similarities.hcml import squared
from vireid.plugins.similarities.mlapg import MLAPG, Pairs, axes_of, proximal_step


def people(count: int, shots: int, seed: int = 0, first: int = 0) -> Embeddings:
    """Identities are points in the first three dimensions, shifted for infrared; the other three are noise."""
    rng = np.random.default_rng(seed)
    samples, features = [], []
    for modality in (VISIBLE, INFRARED):
        for identity in range(first, first + count):
            point = np.random.default_rng(identity).standard_normal(3)
            for shot in range(shots):
                samples.append(Sample(f'{modality}{identity}/{shot}', identity, 1, modality))
                shift = 0.5 * (modality == INFRARED)
                features.append([*(point + shift + 0.1 * rng.standard_normal(3)), *(3 * rng.standard_normal(3))])
    return Embeddings(tuple(samples), np.array(features, dtype=np.float32) / 5)


def some_pairs(seed: int = 0) -> Pairs:
    rng = np.random.default_rng(seed)
    pairs = Pairs(rng.standard_normal((7, 4)), rng.standard_normal((5, 4)), rng.random((7, 5)) < 0.3)
    pairs.mu = 6.0
    return pairs


def objective(m: torch.Tensor, pairs: Pairs) -> torch.Tensor:
    """F, pair by pair."""
    positive = int(pairs.same.sum())
    total = torch.zeros((), dtype=torch.float64)
    for i, x in enumerate(torch.from_numpy(pairs.x)):
        for j, z in enumerate(torch.from_numpy(pairs.z)):
            y, w = (1, 1 / positive) if pairs.same[i, j] else (-1, 1 / (35 - positive))
            total = total + w * torch.log(1 + torch.exp(y * ((x - z) @ m @ (x - z) - pairs.mu)))
    return total


@given(st.integers(0, 20))
def test_the_objective_equals_the_literal_loop_with_its_gradient(seed: int) -> None:
    pairs = some_pairs(seed)
    p = np.random.default_rng(seed).standard_normal((4, 3))
    m = torch.from_numpy(p @ p.T).requires_grad_()
    wanted = objective(m, pairs)
    (gradient,) = torch.autograd.grad(wanted, m)
    assert pairs.value(pairs.distances(p)) == pytest.approx(wanted.item(), abs=1e-10)
    assert np.allclose(pairs.gradient(pairs.distances(p)), gradient.numpy(), rtol=0, atol=1e-10)


def test_the_gradient_is_that_of_finite_differences() -> None:
    pairs, m, step = some_pairs(), np.eye(4), 1e-5
    gradient = pairs.gradient(pairs.distances(m))
    for i, j in np.ndindex(4, 4):
        moved = np.zeros((4, 4))
        moved[i, j] = step
        high, low = (objective(torch.from_numpy(m + s * moved), pairs).item() for s in (1, -1))
        assert gradient[i, j] == pytest.approx((high - low) / (2 * step), abs=1e-8)


def test_large_distances_do_not_overflow() -> None:
    pairs = some_pairs()
    distances = pairs.distances(1e3 * np.eye(4))
    with np.errstate(all='raise', under='ignore'):
        assert pairs.value(distances) == pytest.approx(((distances - pairs.mu) * pairs.same).sum() / pairs.same.sum())
        assert np.isfinite(pairs.gradient(distances)).all()


def test_a_step_ends_in_the_cone_and_below_its_bound() -> None:
    pairs = some_pairs()
    start = np.diag([1.0, 0.5, -0.2, 1.0])  # as after an extrapolation
    # the distances are linear in the metric
    distances = pairs.distances(np.diag([1, 0.5**0.5, 0, 1])) - 0.2 * pairs.distances(np.diag([0, 0, 1.0, 0]))
    step = proximal_step(pairs, start, distances, 1e-3)
    assert np.allclose(step.m, step.p @ step.p.T, rtol=0, atol=1e-12)
    assert np.linalg.eigvalsh(step.m).min() >= -1e-12
    moved, gradient = step.m - start, pairs.gradient(distances)
    bound = pairs.value(distances) + (moved * gradient).sum() + step.lipschitz / 2 * (moved**2).sum()
    assert step.value <= bound
    assert step.lipschitz > 1e-3
    # by hand: the nearest positive semidefinite matrix to start - gradient / L
    values, vectors = np.linalg.eigh(start - gradient / step.lipschitz)
    assert np.allclose(step.m, vectors @ np.diag(values.clip(min=0)) @ vectors.T, rtol=0, atol=1e-12)


def second(x: np.ndarray, z: np.ndarray, same: np.ndarray, iterations: int) -> tuple[np.ndarray, list[float]]:
    """Accelerated proximal gradient by the book, without restarts; all distances from the metric itself."""
    d = x.shape[1]
    difference = (x[:, None] - z[None]).reshape(-1, d)
    y = np.where(same.ravel(), 1.0, -1.0)
    w = np.where(same.ravel(), 1 / same.sum(), 1 / (~same).sum())
    mu = (difference**2).sum(axis=1).mean()

    def value(m: np.ndarray) -> float:
        return float(w @ np.log(1 + np.exp(y * (np.einsum('pi,ij,pj->p', difference, m, difference) - mu))))

    m, before, alpha, lipschitz = np.eye(d), np.eye(d), 0.0, 1 / 256
    values = [value(m)]
    for _ in range(iterations):
        after = (1 + math.sqrt(1 + 4 * alpha**2)) / 2
        v = m + (alpha - 1) / after * (m - before)
        slopes = w * y / (1 + np.exp(-y * (np.einsum('pi,ij,pj->p', difference, v, difference) - mu)))
        gradient = difference.T @ (slopes[:, None] * difference)
        while True:
            raised = v - gradient / lipschitz
            eigen, vectors = np.linalg.eigh((raised + raised.T) / 2)
            new = vectors @ np.diag(np.maximum(eigen, 0)) @ vectors.T
            moved = new - v
            bound = value(v) + (moved * gradient).sum() + lipschitz / 2 * (moved**2).sum()
            if value(new) <= bound:
                break
            lipschitz *= 2
        before, m, alpha = m, new, after
        values.append(value(m))
    return m, values


def test_equals_a_second_implementation() -> None:
    embeddings = people(6, 3)
    metric = MLAPG(dims=None, iterations=12, tolerance=0, scale=False)
    metric.fit(embeddings)
    features = embeddings.features.astype(np.float64)
    same = np.repeat(np.arange(6), 3)[:, None] == np.repeat(np.arange(6), 3)[None]
    m, values = second(features[:18], features[18:], same, 12)
    assert metric.objective == pytest.approx(values, rel=1e-9)
    assert metric.projection is not None
    assert np.allclose(metric.projection @ metric.projection.T, m, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('scale', [True, False])
def test_the_objective_begins_as_by_hand_and_never_rises(seed: int, scale: bool) -> None:
    metric = MLAPG(iterations=150, tolerance=0, scale=scale)
    metric.fit(people(5, 3, seed=seed))
    assert len(metric.objective) > 20
    assert all(after <= before for before, after in zip(metric.objective, metric.objective[1:], strict=False))
    assert metric.objective[-1] < 0.7 * metric.objective[0]


def test_the_first_value_by_hand() -> None:
    # distances are 0 within an identity and 2 between, so mu is 1: both kinds of pairs cost log(1 + e^-1)
    samples = tuple(Sample(f'{m}{i}', i, 1, m) for m in (VISIBLE, INFRARED) for i in range(2))
    metric = MLAPG()
    metric.fit(Embeddings(samples, np.array([[1, 0], [0, 1], [1, 0], [0, 1]], dtype=np.float32)))
    assert metric.objective[0] == pytest.approx(2 * math.log(1 + math.exp(-1)), abs=1e-10)


def rank1(similarities: np.ndarray, identities: np.ndarray) -> float:
    return float((identities[similarities.argmax(axis=1)] == identities).mean())


@pytest.mark.parametrize('seed', range(3))
def test_it_learns_to_ignore_the_noise_on_identities_it_has_not_seen(seed: int) -> None:
    train, test = people(20, 4, seed=seed), people(20, 1, seed=seed + 10, first=100)
    metric = MLAPG()
    metric.fit(train)
    query, gallery, identities = test.features[20:], test.features[:20], np.arange(20)
    assert rank1(-squared(query, gallery), identities) <= 0.3  # by chance 0.05
    assert rank1(metric.similarity(query, gallery)(slice(None)), identities) >= 0.7


def test_the_scale_of_the_features_does_not_matter() -> None:
    embeddings = people(10, 3)
    tiny = Embeddings(embeddings.samples, embeddings.features * np.float32(2**-12))
    scaled, small, raw = MLAPG(), MLAPG(), MLAPG(scale=False)
    scaled.fit(embeddings)
    small.fit(tiny)
    raw.fit(tiny)
    assert small.objective == pytest.approx(scaled.objective, rel=1e-6)
    assert len(raw.objective) == 2  # the steps are too short to lower the objective by the tolerance


def test_similarities_are_negative_squared_distances_under_the_metric() -> None:
    embeddings = people(5, 2)
    metric = MLAPG(iterations=10)
    metric.fit(embeddings)
    again = MLAPG()
    again.load_state_dict(metric.state_dict())
    query, gallery = embeddings.features[:3], embeddings.features[5:9]
    assert metric.projection is not None
    m = metric.projection @ metric.projection.T
    found = again.similarity(query, gallery)(slice(1, 3))
    for i, j in np.ndindex(2, 4):
        apart = query[i + 1].astype(np.float64) - gallery[j]
        assert found[i, j] == pytest.approx(-float(apart @ m @ apart), abs=1e-10)


def test_images_are_sampled_per_identity_if_there_are_too_many_pairs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warn, '_warned', set())
    # SYSU-MM01's 22,258 visible and 11,909 infrared training images of 395 identities
    samples = [Sample(f'v{i}', i % 395, 1, VISIBLE) for i in range(22_258)]
    samples += [Sample(f'i{i}', i % 395, 3, INFRARED) for i in range(11_909)]
    features = np.random.default_rng(0).standard_normal((len(samples), 3)).astype(np.float32)
    projections: list[Any] = []
    for seed in (0, 0, 1):
        metric = MLAPG(iterations=1, max_pairs=160_000, seed=seed)
        metric.fit(Embeddings(tuple(samples), features))
        projections.append(metric.projection)
    said = capsys.readouterr().err
    assert '22,258 x 11,909 pairs of training images would take 2.1 GB a matrix, 6 at once' in said
    assert 'fitted to 395 x 395 pairs, at most 1 image of each identity and modality, drawn with seed 0' in said
    assert len(said.splitlines()) == 2  # once for each seed
    assert np.array_equal(projections[0], projections[1])
    assert not np.array_equal(projections[0], projections[2])
    few = [s for s in samples if s.identity < 50]
    MLAPG(iterations=1, max_pairs=50**2 * 9 + 1).fit(Embeddings(tuple(few), features[: len(few)]))
    assert 'fitted to 150 x 150 pairs, at most 3 images of each' in capsys.readouterr().err
    with pytest.raises(Mismatch, match=r'(?s)156,025 .*max_pairs=100\n.*max_pairs=156025'):
        MLAPG(max_pairs=100).fit(Embeddings(tuple(samples), features))


def test_axes_are_orthonormal_and_leave_out_what_has_no_variance() -> None:
    rng = np.random.default_rng(0)
    for rows, columns in ((50, 4), (8, 40)):
        data = rng.standard_normal((rows, 3)) @ rng.standard_normal((3, columns))  # of rank 3
        data += 1e-9 * rng.standard_normal((rows, columns))
        data -= data.mean(axis=0)
        axes = axes_of(data, None)
        assert axes.shape == (columns, 3)
        assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-6)
        assert np.allclose(data @ axes @ axes.T, data, atol=1e-6)
        assert axes_of(data, 2).shape == (columns, 2)


@pytest.mark.parametrize('identities', [1, 4])
def test_equal_features_and_one_identity_give_finite_numbers(identities: int) -> None:
    samples = tuple(Sample(f'{m}{i}', i % identities, 1, m) for m in (VISIBLE, INFRARED) for i in range(4))
    for features in (np.ones((8, 3)), np.random.default_rng(0).standard_normal((8, 3)), np.ones((8, 20))):
        metric = MLAPG()
        metric.fit(Embeddings(samples, features.astype(np.float32)))
        assert np.isfinite(metric.similarity(features[:4], features[4:])(slice(None))).all()


def test_what_cannot_be_is_refused() -> None:
    embeddings = people(4, 2)
    visible = embeddings.samples[:8]
    strangers = tuple(Sample(f's{i}', 50 + i, 1, INFRARED) for i in range(8))
    for samples in (visible, (*visible, *strangers)):
        with pytest.raises(TooFew, match='MLAPG'):
            MLAPG().fit(Embeddings(samples, np.ones((len(samples), 3), dtype=np.float32)))
    with pytest.raises(NotReady, match='MLAPG'):
        MLAPG().similarity(np.zeros((1, 2)), np.zeros((1, 2)))
