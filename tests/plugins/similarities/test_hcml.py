"""HCML: objective against a literal loop, gradients, monotonic steps, and the metric of each image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, VISIBLE, Sample, Trial
from vireid.errors import NotReady, TooFew
from vireid.plugins.similarities.hcml import HCML, SharedTerm, SpecificTerm, principal_axes, squared


def people(count: int, shots: int, dims: int = 6, seed: int = 0, gap: float = 1.0) -> Embeddings:
    """Identities are points; infrared points are rotated and shifted, and each image has a small offset."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((count, dims))
    turn = np.linalg.qr(rng.standard_normal((dims, dims)))[0]
    samples, features = [], []
    for modality in (VISIBLE, INFRARED):
        for identity in range(count):
            for shot in range(shots):
                point = points[identity] + 0.2 * rng.standard_normal(dims)
                point = point if modality == VISIBLE else point @ turn + gap
                samples.append(Sample(f'{modality}{identity}/{shot}', identity, 1, modality))
                features.append(point / np.linalg.norm(point))
    return Embeddings(tuple(samples), np.array(features, dtype=np.float32))


def test_the_shared_term_equals_the_literal_loop_with_gradients():
    torch.manual_seed(0)
    visible, infrared = (torch.randn(n, 4, dtype=torch.float64) for n in (3, 2))
    same = np.array([[True, False], [False, True], [False, False]])
    v, t, p = (torch.randn(4, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    m = (p @ p.T).detach().requires_grad_()
    distance = {(i, j): visible[i] @ v - infrared[j] @ t for i in range(3) for j in range(2)}
    mu = sum(float(((visible[i] - infrared[j]) ** 2).sum()) for i in range(3) for j in range(2)) / 6
    wanted = torch.zeros((), dtype=torch.float64)
    for (i, j), apart in distance.items():
        y, w = (1, 1 / 2) if same[i, j] else (-1, 1 / 4)  # two positive pairs, four negative pairs
        wanted = wanted + w * torch.log(1 + torch.exp(y * (apart @ m @ apart - mu)))
    term = SharedTerm(visible.numpy(), infrared.numpy(), same)
    arrays = [x.detach().numpy() for x in (v, t, m)]
    assert term.mu == pytest.approx(mu, abs=1e-10)
    assert term.value(*arrays) == pytest.approx(wanted.item(), abs=1e-10)
    for found, gradient in zip(term.gradients(*arrays), torch.autograd.grad(wanted, (v, t, m)), strict=True):
        assert np.allclose(found, gradient.numpy(), rtol=0, atol=1e-10)


def test_a_specific_term_equals_the_literal_loop_with_gradients():
    torch.manual_seed(0)
    residuals = torch.randn(5, 4, dtype=torch.float64)
    v = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    wanted = torch.zeros((), dtype=torch.float64)
    for residual in residuals:
        wanted = wanted + torch.log(1 + torch.exp(((residual @ v) ** 2).sum())) / 5
    term = SpecificTerm(residuals.numpy())
    assert term.value(v.detach().numpy()) == pytest.approx(wanted.item(), abs=1e-10)
    (gradient,) = torch.autograd.grad(wanted, v)
    assert np.allclose(term.gradient(v.detach().numpy()), gradient.numpy(), rtol=0, atol=1e-10)


def test_the_objective_begins_as_by_hand_and_never_rises():
    # two identities, one image each: all residuals are 0, so each specific term is log 2
    features = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], dtype=np.float32)
    samples = tuple(Sample(f'{m}{i}', i, 1, m) for m in (VISIBLE, INFRARED) for i in range(2))
    metric = HCML(specific_weight=0.2, iterations=20, tolerance=0)
    metric.fit(Embeddings(samples, features))
    # squared distances are 0 within an identity and 2 between, mu is 1: both kinds of pairs cost log(1 + e^-1)
    assert metric.objective[0] == pytest.approx(2 * math.log(1 + math.exp(-1)) + 0.4 * math.log(2), abs=1e-6)
    assert len(metric.objective) == 21
    metric = HCML(dims=None, iterations=60, tolerance=0)
    metric.fit(people(8, 3))
    assert all(after <= before + 1e-12 for before, after in zip(metric.objective, metric.objective[1:], strict=False))
    assert metric.objective[-1] < 0.9 * metric.objective[0]


def test_it_ends_when_the_objective_hardly_falls():
    metric = HCML(tolerance=0.5)
    metric.fit(people(8, 3))
    assert len(metric.objective) == 2


def rank1(similarities: np.ndarray, query: tuple[Sample, ...], gallery: tuple[Sample, ...]) -> float:
    best = similarities.argmax(axis=1)
    return float(np.mean([gallery[g].identity == q.identity for q, g in zip(query, best, strict=True)]))


def halves(embeddings: Embeddings) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    middle = len(embeddings.samples) // 2
    return embeddings.samples[:middle], embeddings.samples[middle:]


@pytest.mark.parametrize('seed', range(3))
def test_it_learns_to_match_people_across_a_turned_space(seed):
    embeddings = people(8, 3, seed=seed)
    visible, infrared = halves(embeddings)
    query, gallery = embeddings.of(infrared), embeddings.of(visible)
    reached = {}
    for decay in (0.95, 1.0):
        metric = HCML(decay=decay)
        metric.fit(embeddings)
        found = metric.similarity(query, gallery, Trial('all', 0, infrared, visible))(slice(None))
        reached[decay] = rank1(found, infrared, visible)
    assert rank1(query @ gallery.T, infrared, visible) < 0.15
    assert reached[0.95] > 0.3  # steps that shrink so fast do not undo the whole rotation
    assert reached[1.0] > 0.7


def test_an_image_takes_the_metric_of_its_modality_whatever_its_role():
    embeddings = people(6, 2)
    metric = HCML(iterations=30)
    metric.fit(embeddings)
    visible, infrared = halves(embeddings)
    one, other = embeddings.of(visible), embeddings.of(infrared)
    there = metric.similarity(one, other, Trial('all', 0, visible, infrared))(slice(None))
    back = metric.similarity(other, one, Trial('all', 0, infrared, visible))(slice(None))
    assert np.allclose(there, back.T, rtol=0, atol=1e-12)
    for i in range(3):
        for j in range(3):
            x = (one[i].astype(np.float64) - metric.center) @ metric.projections[VISIBLE]
            z = (other[j].astype(np.float64) - metric.center) @ metric.projections[INFRARED]
            assert there[i, j] == pytest.approx(-float(sum((a - b) ** 2 for a, b in zip(x, z, strict=True))), abs=1e-10)
    mixed = (visible[0], infrared[0])
    both = metric.similarity(embeddings.of(mixed), other, Trial('all', 0, mixed, infrared))(slice(None))
    assert np.allclose(both[0], there[0], rtol=0, atol=1e-12)
    assert both[1, 0] == pytest.approx(0, abs=1e-12)


def test_the_projections_are_of_the_size_asked_for():
    metric = HCML(dims=3, iterations=5)
    metric.fit(people(6, 2))
    assert all(p.shape[0] == 6 and p.shape[1] <= 3 for p in metric.projections.values())


def test_principal_axes_are_orthonormal_and_of_the_largest_variance():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((50, 3)) * [1, 5, 0]
    data -= data.mean(axis=0)
    axes = principal_axes(data, None)
    assert axes.shape == (3, 2)  # the third has no variance
    assert np.allclose(axes.T @ axes, np.eye(2), atol=1e-12)
    assert abs(axes[1, 0]) > 0.99
    assert principal_axes(data, 1).shape == (3, 1)
    assert principal_axes(np.zeros((4, 3)), None).shape == (3, 1)  # equal images still give one axis


def test_squared_distances_by_hand():
    assert squared(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 1.0]])).tolist() == [[1.0], [2.0]]


def test_equal_features_and_one_identity_give_finite_numbers():
    samples = tuple(Sample(f'{m}{i}', i // 2, 1, m) for m in (VISIBLE, INFRARED) for i in range(4))
    for identities in (samples, tuple(Sample(s.path, 0, 1, s.modality) for s in samples)):
        for features in (np.ones((8, 3)), np.random.default_rng(0).standard_normal((8, 3))):
            embeddings = Embeddings(identities, features.astype(np.float32))
            metric = HCML(iterations=5)
            metric.fit(embeddings)
            query, gallery = halves(embeddings)
            of = metric.similarity(embeddings.of(query), embeddings.of(gallery), Trial('all', 0, query, gallery))
            assert np.isfinite(of(slice(None))).all()


def test_identities_of_one_modality_are_only_told_apart():
    embeddings = people(6, 2)
    kept = [i for i, s in enumerate(embeddings.samples) if s.identity > 0 or s.modality == VISIBLE]
    lacking = Embeddings(tuple(embeddings.samples[i] for i in kept), embeddings.features[kept])
    metric = HCML(iterations=5)
    metric.fit(lacking)
    assert all(np.isfinite(p).all() for p in metric.projections.values())


def test_what_cannot_be_is_refused():
    with pytest.raises(TooFew, match='HCML'):
        HCML().fit(Embeddings(halves(people(4, 2))[0], np.ones((8, 3), dtype=np.float32)))
    with pytest.raises(NotReady, match='HCML'):
        HCML().similarity(np.zeros((1, 2)), np.zeros((1, 2)), Trial('all', 0, (), ()))
