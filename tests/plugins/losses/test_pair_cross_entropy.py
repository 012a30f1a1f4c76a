"""PairCrossEntropy against its definition, pair by pair."""

from __future__ import annotations

import math

import pytest
import torch

from vireid.core.types import Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.pair_cross_entropy import PairCrossEntropy


def context(visible: int, infrared: int) -> Context:
    return Context({m: count for m, count in (('visible', visible), ('infrared', infrared)) if count})


def literal(similarity: torch.Tensor, persons: list[int], visible: int, scale: float, threshold: float) -> torch.Tensor:
    halves: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for i in range(visible):
        for j in range(visible, len(persons)):
            z = scale * (similarity[i, j] - threshold)
            same = persons[i] == persons[j]
            halves[same].append(torch.log(1 + torch.exp(-z if same else z)))
    means = [sum(terms) / len(terms) for terms in halves.values() if terms]
    return sum(means) / 2


@pytest.mark.parametrize(
    ('persons', 'visible'),
    [([0, 0, 1, 2, 0, 1, 1], 4), ([0, 0, 0, 0], 2), ([0, 1, 2, 3], 2)],
    ids=['both', 'one identity', 'nobody in both'],
)
def test_equals_the_literal_loop_with_gradients(persons, visible):
    torch.manual_seed(0)
    count = len(persons)
    similarity = torch.randn(count, count, dtype=torch.float64, requires_grad=True)
    loss = PairCrossEntropy(3.0, 0.2)(HeadOutput(similarity), torch.tensor(persons), context(visible, count - visible))
    expected = literal(similarity, persons, visible, 3.0, 0.2)
    assert torch.allclose(loss, expected, rtol=0, atol=1e-10)
    found, wanted = (torch.autograd.grad(value, similarity)[0] for value in (loss, expected))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_by_hand():
    # visible 0 and 1, infrared 2: the pair (0, 2) is positive, z = 0; (1, 2) is negative, z = log 3
    similarity = torch.zeros(3, 3)
    similarity[0, 2], similarity[1, 2] = 0.5, 0.5 + math.log(3)
    loss = PairCrossEntropy(scale=1.0)(HeadOutput(similarity), torch.tensor([0, 1, 0]), context(2, 1))
    assert loss.item() == pytest.approx((math.log(2) + math.log(4)) / 2)


@pytest.mark.parametrize('visible', [0, 4])
def test_one_modality_alone_gives_zero_and_a_gradient_of_zero(visible):
    similarity = torch.randn(4, 4, requires_grad=True)
    loss = PairCrossEntropy()(HeadOutput(similarity), torch.tensor([0, 0, 1, 1]), context(visible, 4 - visible))
    assert loss.item() == 0
    loss.backward()
    assert not similarity.grad.any()


def test_large_logits_do_not_overflow():
    similarity = torch.tensor([[0.0, 1.0], [1.0, 0.0]], requires_grad=True)
    loss = PairCrossEntropy(scale=1e4)(HeadOutput(similarity), torch.tensor([0, 1]), context(1, 1))
    loss.backward()
    assert loss.item() == pytest.approx(1e4 * 0.5 / 2)
    assert torch.isfinite(similarity.grad).all()


def test_another_feature_is_refused():
    with pytest.raises(Mismatch, match=r'\(4, 3\) for 4 ') as caught:
        PairCrossEntropy()(HeadOutput(torch.zeros(4, 3)), torch.tensor([0, 0, 1, 1]), context(2, 2))
    assert "reads='pairs'" in caught.value.todo
