"""EnhancedSquaredDifference against numbers computed by hand and its definition as a literal loop."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vireid.core.types import HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.enhanced_squared_difference import EnhancedSquaredDifference
from vireid.plugins.losses.softmax_weights import weighted_distances


def literal(feature: torch.Tensor, persons: list[int]) -> torch.Tensor:
    """The mean over i of log(1 + exp(sign(p_i - n_i) (p_i - n_i)^2)), image by image."""
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
        squared = (far - near) ** 2
        total = total + torch.log(1 + torch.exp(squared if far > near else -squared))
    return total / len(persons)


PERSONS = [
    [0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1],  # two identities in three modalities
    [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5],  # no identity in two modalities
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],  # one against all
]


def loss_of(feature: torch.Tensor, persons: list[int]) -> torch.Tensor:
    return EnhancedSquaredDifference()(HeadOutput(feature), torch.tensor(persons))


@pytest.mark.parametrize('persons', PERSONS)
@pytest.mark.parametrize('scale', [0.5, 2.0])
def test_equals_the_literal_loop_with_gradients(persons, scale):
    torch.manual_seed(0)
    feature = (scale * torch.randn(12, 5, dtype=torch.float64)).requires_grad_()
    loss, expected = loss_of(feature, persons), literal(feature, persons)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    found, wanted = (torch.autograd.grad(value, feature)[0] for value in (loss, expected))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_by_hand():
    # on a line: 0 and log 3 of one identity, log 6 of another; see the test of WeightedRegularizedTriplet
    feature = torch.tensor([[0.0], [math.log(3)], [math.log(6)]], dtype=torch.float64)
    own, other = 0.75 * math.log(3), 0.25 * math.log(6) + 0.75 * math.log(2)
    gaps = [own - math.log(6), own - math.log(2), 0 - other]
    terms = [math.log(1 + math.exp(math.copysign(gap**2, gap))) for gap in gaps]
    assert loss_of(feature, [0, 0, 1]).item() == pytest.approx(sum(terms) / 3, abs=1e-10)


@given(
    scale=st.floats(1e-3, 1e3),
    persons=st.lists(st.integers(0, 3), min_size=2, max_size=12),
    seed=st.integers(0, 99),
)
def test_weighted_distances_are_within_the_true_ones_at_any_scale(scale, persons, seed):
    feature = scale * torch.randn(len(persons), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    labels = torch.tensor(persons)
    positive, negative, alone = weighted_distances('x', HeadOutput(feature), labels)
    distance = torch.cdist(feature, feature)
    same = labels[:, None] == labels[None, :]
    slack = 1e-6 * scale
    for i in range(len(persons)):
        assert -slack <= positive[i] <= distance[i][same[i]].max() + slack
        assert alone[i] == bool(same[i].all())
        if not alone[i]:
            assert distance[i][~same[i]].min() - slack <= negative[i] <= distance[i][~same[i]].max() + slack


def test_far_apart_identities_keep_their_distance_and_the_loss_its_gradient():
    """All 84 negatives at distance 25: weights that do not sum to 1 would give a nearest negative at about 0."""
    persons = torch.arange(8).repeat_interleave(12)
    corners = 25 / math.sqrt(2) * torch.eye(8, dtype=torch.float32)  # any two are 25 apart
    feature = (
        corners[persons] + 0.01 * torch.randn(96, 8, generator=torch.Generator().manual_seed(0))
    ).requires_grad_()
    positive, negative, _ = weighted_distances('x', HeadOutput(feature), persons)
    assert negative.min().item() == pytest.approx(25, abs=0.1)
    assert positive.max().item() < 0.1
    assert EnhancedSquaredDifference()(HeadOutput(feature), persons).item() == 0
    mixed = EnhancedSquaredDifference()(HeadOutput(feature), persons.roll(1))  # 8 images are 25 from the others
    assert mixed.item() > 8 / 96 * 88
    assert torch.autograd.grad(mixed, feature)[0].abs().max() > 0.1


def test_a_violation_of_more_than_the_released_cap_has_a_gradient_of_twice_its_size():
    # p = 30, n = 10 for the outer images of an identity on a line, so the difference is 20 and its square is 400
    line = torch.tensor([[0.0], [30.0], [-10.0]], dtype=torch.float64, requires_grad=True)
    loss = loss_of(line, [0, 0, 1])
    # image 0: 30 - 10; image 1: 30 - 40; image 2: 0 - 10 (nearest)
    assert loss.item() == pytest.approx(400 / 3, abs=1e-6)
    gradient = torch.autograd.grad(loss, line)[0].flatten()
    # d(D^2)/dx = 2 D dD/dx, where D = (x1 - x0) - (x0 - x2)
    assert gradient.tolist() == pytest.approx([-80 / 3, 40 / 3, 40 / 3], abs=1e-6)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_distances_of_thousands_do_not_overflow(dtype):
    line = torch.tensor([[0.0], [3000.0], [1000.0], [5000.0]], dtype=dtype, requires_grad=True)
    loss = loss_of(line, [0, 0, 1, 1])
    # farthest positive: 3000, 3000, 4000, 4000; nearest negative: 1000, 2000, 1000, 2000
    assert loss.item() == pytest.approx((2000**2 + 1000**2 + 3000**2 + 2000**2) / 4, rel=1e-6)
    assert torch.isfinite(torch.autograd.grad(loss, line)[0]).all()


@pytest.mark.parametrize('persons', [[0, 0, 0, 0], [0, 0, 1, 1]])
def test_equal_features_have_a_finite_gradient(persons):
    feature = torch.ones(4, 3, requires_grad=True)
    loss = loss_of(feature, persons)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2) if persons[-1] else 0, abs=1e-5)
    assert torch.isfinite(feature.grad).all()


def test_one_identity_is_zero_with_a_zero_gradient():
    feature = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = loss_of(feature, [0, 0, 0, 0])
    loss.backward()
    assert loss.item() == 0
    assert feature.grad.abs().max() == 0


def test_full_precision_under_autocast():
    torch.manual_seed(0)
    feature = torch.nn.functional.normalize(1 + 0.01 * torch.randn(8, 64), dim=1)  # nearly equal vectors
    full = loss_of(feature, [0, 1] * 4)
    with torch.autocast('cpu', torch.bfloat16):
        assert loss_of(feature, [0, 1] * 4).item() == full.item()


def test_half_precision_is_promoted_and_float64_kept():
    torch.manual_seed(0)
    feature = torch.randn(8, 16)
    for dtype, wanted in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        assert loss_of(feature.to(dtype), [0, 1, 2, 3] * 2).dtype == wanted


def test_parts_are_refused():
    with pytest.raises(Mismatch, match=r'EnhancedSquaredDifference .*parts'):
        EnhancedSquaredDifference()(HeadOutput(torch.zeros(2, 3, 4)), torch.tensor([0, 1]))


def test_learns_a_projection_in_which_new_images_are_near_their_identity():
    """Identity is in 4 of 24 dimensions, at a third of the noise of the others; chance is 1/6."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(6, 4, generator=generator)

    def draw(shots: int) -> tuple[torch.Tensor, torch.Tensor]:
        persons = torch.arange(6).repeat_interleave(shots)
        noise = torch.randn(len(persons), 24, generator=generator)
        noise[:, :4] = centers[persons] + 0.3 * noise[:, :4]
        return noise, persons

    def rank_1(weight: torch.Tensor) -> float:
        (query, of_query), (gallery, of_gallery) = draw(20), draw(5)
        nearest = torch.cdist(query @ weight, gallery @ weight).argmin(dim=1)
        return (of_gallery[nearest] == of_query).double().mean().item()

    weight = (0.2 * torch.randn(24, 8, generator=generator)).requires_grad_()
    untrained = rank_1(weight.detach())
    optimizer = torch.optim.Adam([weight], lr=0.02)
    for _ in range(150):
        feature, persons = draw(6)
        loss = EnhancedSquaredDifference()(HeadOutput(feature @ weight), persons)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trained = rank_1(weight.detach())
    assert untrained < 0.5
    assert trained > 0.85
