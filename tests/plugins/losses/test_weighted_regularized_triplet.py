"""WeightedRegularizedTriplet against numbers computed by hand and its definition as a literal loop."""

from __future__ import annotations

import math

import pytest
import torch

from vireid.core.types import HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.weighted_regularized_triplet import WeightedRegularizedTriplet


def literal(feature: torch.Tensor, persons: list[int]) -> torch.Tensor:
    """The mean over i of log(1 + exp(sum_j w_ij d_ij - sum_k v_ik d_ik)), image by image."""
    total = torch.zeros((), dtype=feature.dtype)
    for i in range(len(persons)):
        positives, negatives = [], []
        for j in range(len(persons)):
            # the norm has no gradient where both images are the same
            distance = (feature[i] - feature[j]).square().sum().sqrt() if j != i else torch.zeros_like(total)
            (positives if persons[j] == persons[i] else negatives).append(distance)
        if not negatives:
            continue
        far = sum(torch.exp(d) * d for d in positives) / sum(torch.exp(d) for d in positives)
        near = sum(torch.exp(-d) * d for d in negatives) / sum(torch.exp(-d) for d in negatives)
        total = total + torch.log(1 + torch.exp(far - near))
    return total / len(persons)


PERSONS = [
    [0, 0, 1, 1, 0, 0, 1, 1],  # two identities in both modalities
    [0, 0, 1, 1, 2, 2, 3, 3],  # no identity in both modalities
    [0, 1, 2, 3, 4, 5, 6, 7],  # one image per identity
    [0, 0, 0, 0, 0, 0, 0, 1],  # one against all
]


@pytest.mark.parametrize('persons', PERSONS)
def test_equals_the_literal_loop_with_gradients(persons):
    torch.manual_seed(0)
    feature = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    loss = WeightedRegularizedTriplet()(HeadOutput(feature), torch.tensor(persons))
    expected = literal(feature, persons)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    (found,) = torch.autograd.grad(loss, feature)
    (wanted,) = torch.autograd.grad(expected, feature)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_by_hand():
    # on a line: 0 and log 3 of one identity, log 6 of another; distances: log 3, log 6, log 6 - log 3 = log 2
    feature = torch.tensor([[0.0], [math.log(3)], [math.log(6)]], dtype=torch.float64)
    loss = WeightedRegularizedTriplet()(HeadOutput(feature), torch.tensor([0, 0, 1]))
    # positives of the first two: itself at 0 and the other at log 3, weights 1/4 and 3/4
    own = 0.75 * math.log(3)
    # negatives of the third: at log 6 and log 2, weights (1/6) / (1/6 + 1/2) = 1/4 and 3/4
    other = 0.25 * math.log(6) + 0.75 * math.log(2)
    gaps = [own - math.log(6), own - math.log(2), 0 - other]
    assert loss.item() == pytest.approx(sum(math.log(1 + math.exp(gap)) for gap in gaps) / 3, abs=1e-10)


def test_hard_images_weigh_most():
    # with widely spaced distances, it is the soft-margin triplet of the hardest positives and negatives
    feature = torch.tensor([[0.0], [50.0], [200.0], [300.0]], dtype=torch.float64)
    loss = WeightedRegularizedTriplet()(HeadOutput(feature), torch.tensor([0, 0, 1, 1]))
    gaps = [50 - 200, 50 - 150, 100 - 150, 100 - 250]
    assert loss.item() == pytest.approx(sum(math.log1p(math.exp(gap)) for gap in gaps) / 4, abs=1e-10)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_distances_of_thousands_do_not_overflow(dtype):
    line = torch.tensor([[0.0], [3000.0], [1000.0], [5000.0]], dtype=dtype, requires_grad=True)
    loss = WeightedRegularizedTriplet()(HeadOutput(line), torch.tensor([0, 0, 1, 1]))
    # farthest positive: 3000, 3000, 4000, 4000; nearest negative: 1000, 2000, 1000, 2000
    assert loss.item() == pytest.approx((2000 + 1000 + 3000 + 2000) / 4, rel=1e-6)
    assert torch.isfinite(torch.autograd.grad(loss, line)[0]).all()


def test_equal_features_have_a_finite_gradient():
    feature = torch.ones(4, 3, requires_grad=True)
    loss = WeightedRegularizedTriplet()(HeadOutput(feature), torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2), abs=1e-5)
    assert torch.isfinite(feature.grad).all()


def test_one_identity_is_zero_with_a_zero_gradient():
    torch.manual_seed(0)
    feature = torch.randn(4, 3, requires_grad=True)
    loss = WeightedRegularizedTriplet()(HeadOutput(feature), torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert feature.grad.abs().max() == 0


def test_full_precision_under_autocast():
    torch.manual_seed(0)
    feature = torch.nn.functional.normalize(1 + 0.01 * torch.randn(8, 64), dim=1)  # nearly equal vectors
    persons = torch.arange(8) % 2
    full = WeightedRegularizedTriplet()(HeadOutput(feature), persons)
    with torch.autocast('cpu', torch.bfloat16):
        assert WeightedRegularizedTriplet()(HeadOutput(feature), persons).item() == full.item()


def test_half_precision_is_promoted_and_float64_kept():
    torch.manual_seed(0)
    feature, persons = torch.randn(8, 16), torch.arange(8) % 4
    for dtype, wanted in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        assert WeightedRegularizedTriplet()(HeadOutput(feature.to(dtype)), persons).dtype == wanted


def test_parts_are_refused():
    with pytest.raises(Mismatch, match=r'parts[\s\S]*\breads\b'):
        WeightedRegularizedTriplet()(HeadOutput(torch.zeros(2, 3, 4)), torch.tensor([0, 1]))
