"""CrossModalityEuclidean against its definition, pair by pair."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.cross_modality_euclidean import CrossModalityEuclidean


def context(visible: int, infrared: int) -> Context:
    return Context({m: count for m, count in (('visible', visible), ('infrared', infrared)) if count})


def literal(feature: torch.Tensor, persons: list[int], visible: int, normalize: bool) -> torch.Tensor:
    total, pairs = torch.zeros((), dtype=torch.float64), 0
    for i in range(visible):
        for j in range(visible, len(persons)):
            if persons[i] != persons[j]:
                continue
            a, b = feature[i], feature[j]
            if normalize:
                a, b = a / sum(x * x for x in a) ** 0.5, b / sum(x * x for x in b) ** 0.5
            total = total + sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
            pairs += 1
    return total / max(1, pairs)


@pytest.mark.parametrize('normalize', [True, False])
def test_equals_the_literal_loop_with_gradients(normalize):
    torch.manual_seed(0)
    persons = [0, 0, 1, 2, 3, 0, 1, 1, 4]  # identities 2, 3 and 4 have one modality only
    feature = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    loss = CrossModalityEuclidean(normalize)(HeadOutput(feature), torch.tensor(persons), context(5, 4))
    expected = literal(feature, persons, 5, normalize)
    assert torch.allclose(loss, expected, rtol=0, atol=1e-10)
    found, wanted = (torch.autograd.grad(value, feature)[0] for value in (loss, expected))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_by_hand():
    # pairs of identity 0: (0, 3) and (1, 3), squared distances 9 and 4; identity 1: (2, 4), 16
    feature = torch.tensor([[0.0], [1.0], [2.0], [3.0], [6.0]])
    loss = CrossModalityEuclidean(normalize=False)(HeadOutput(feature), torch.tensor([0, 0, 1, 0, 1]), context(3, 2))
    assert loss.item() == pytest.approx((9 + 4 + 16) / 3)


def test_unit_vectors_are_at_most_4_apart_and_do_not_shrink():
    feature = torch.tensor([[3.0, 0.0], [-0.1, 0.0]])
    loss = CrossModalityEuclidean()(HeadOutput(feature), torch.tensor([0, 0]), context(1, 1))
    assert loss.item() == pytest.approx(4.0)


@pytest.mark.parametrize(
    ('persons', 'visible', 'infrared'),
    [([0, 1, 2], 3, 0), ([0, 1, 2], 0, 3), ([0, 1, 2], 2, 1)],
    ids=['no infrared', 'no visible', 'nobody in both'],
)
def test_no_pair_gives_zero_and_a_gradient_of_zero(persons, visible, infrared):
    feature = torch.randn(3, 4, requires_grad=True)
    loss = CrossModalityEuclidean()(HeadOutput(feature), torch.tensor(persons), context(visible, infrared))
    assert loss.item() == 0
    loss.backward()
    assert not feature.grad.any()


@pytest.mark.parametrize('feature', [torch.ones(4, 3), torch.zeros(4, 3)], ids=['equal', 'zero'])
def test_equal_features_have_a_finite_gradient(feature):
    feature = feature.requires_grad_()
    loss = CrossModalityEuclidean()(HeadOutput(feature), torch.tensor([0, 1, 0, 1]), context(2, 2))
    assert loss.item() == pytest.approx(0, abs=1e-6)
    loss.backward()
    assert torch.isfinite(feature.grad).all()


def test_half_precision_becomes_float32():
    feature = torch.randn(4, 3, dtype=torch.float16)
    assert (
        CrossModalityEuclidean()(HeadOutput(feature), torch.tensor([0, 1, 0, 1]), context(2, 2)).dtype == torch.float32
    )


def test_refuses_parts():
    with pytest.raises(Mismatch, match=r'CrossModalityEuclidean .*parts'):
        CrossModalityEuclidean()(HeadOutput(torch.zeros(4, 2, 3)), torch.tensor([0, 1, 0, 1]), context(2, 2))
