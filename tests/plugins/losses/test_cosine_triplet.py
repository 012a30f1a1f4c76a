"""CosineTriplet against numbers worked out by hand and its definition as a literal loop."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vireid.core.types import HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.cosine_triplet import CosineTriplet


def literal(feature: torch.Tensor, people: list[int], margin: float, pull: float) -> torch.Tensor:
    """The mean over the images of [n - p + margin]_+ + pull ((1 - p)^2 + (1 + n)^2), image by image."""
    one = torch.ones((), dtype=feature.dtype)
    total = 0 * one
    for i in range(len(people)):
        cosine = [one if j == i else torch.cosine_similarity(feature[i], feature[j], dim=0) for j in range(len(people))]
        positive = min((c for c, other in zip(cosine, people, strict=True) if other == people[i]), key=Tensor.item)
        negatives = [c for c, other in zip(cosine, people, strict=True) if other != people[i]]
        total = total + pull * (1 - positive) ** 2
        if negatives:
            negative = max(negatives, key=Tensor.item)
            total = total + (negative - positive + margin).clamp_min(0) + pull * (1 + negative) ** 2
    return total / len(people)


@pytest.mark.parametrize('people', [[0, 0, 1, 1, 0, 0, 1, 1], [0, 1, 2, 3, 4, 5, 6, 7], [0] * 7 + [1], [3] * 8])
def test_equals_the_literal_loop_with_gradients(people):
    torch.manual_seed(0)
    feature = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    loss = CosineTriplet(0.5, 0.7)(HeadOutput(feature), torch.tensor(people))
    expected = literal(feature, people, 0.5, 0.7)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    wanted = torch.autograd.grad(expected, feature, allow_unused=True)[0]
    (found,) = torch.autograd.grad(loss, feature)
    assert torch.allclose(found, torch.zeros_like(found) if wanted is None else wanted, rtol=0, atol=1e-10)


def test_by_hand():
    # at 0, 60 and 90 degrees; the first two are one identity. p: 1/2, 1/2, 1; n: 0, sqrt(3)/2, sqrt(3)/2
    angles = torch.tensor([0, math.pi / 3, math.pi / 2], dtype=torch.float64)
    feature = 7 * torch.stack([angles.cos(), angles.sin()], dim=1)
    root = math.sqrt(3) / 2
    hinges = [0, root, root - 0.5]
    squares = [0.25 + 1, 0.25 + (1 + root) ** 2, 0 + (1 + root) ** 2]
    loss = CosineTriplet(0.5)(HeadOutput(feature), torch.tensor([0, 0, 1]))
    assert loss.item() == pytest.approx((sum(hinges) + sum(squares)) / 3, abs=1e-10)


def test_it_is_zero_when_two_identities_are_opposite():
    feature = torch.tensor([[1.0, 0], [2.0, 0], [-1.0, 0], [-3.0, 0]])
    assert CosineTriplet()(HeadOutput(feature), torch.tensor([0, 0, 1, 1])).item() == pytest.approx(0, abs=1e-6)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=8), st.floats(0.1, 50), st.integers(0, 99))
def test_order_and_length_do_not_matter(people, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(len(people), 4, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(people), generator=generator)
    identities = torch.tensor(people)
    loss = CosineTriplet()(HeadOutput(feature), identities)
    assert torch.allclose(loss, CosineTriplet()(HeadOutput(scale * feature[order]), identities[order]))


def test_without_a_positive_p_is_1_not_the_similarity_to_a_negative():
    """The released code puts the hardest negative in the place of a missing positive; here an image is its own."""
    feature = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    loss = CosineTriplet(margin=0.5, pull=0)(HeadOutput(feature), torch.tensor([0, 1]))
    assert loss.item() == 0  # p = 1, n = 0: no hinge; with p = n it would be the margin


def test_equal_features_and_half_precision_are_finite():
    feature = torch.ones(4, 3, requires_grad=True)
    loss = CosineTriplet()(HeadOutput(feature), torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(0.5 + 4)
    assert torch.isfinite(feature.grad).all()
    assert CosineTriplet()(HeadOutput(feature.bfloat16()), torch.tensor([0, 0, 1, 1])).dtype == torch.float32


def test_parts_are_refused():
    with pytest.raises(Mismatch, match=r'CosineTriplet .*parts'):
        CosineTriplet()(HeadOutput(torch.zeros(2, 3, 4)), torch.tensor([0, 1]))
