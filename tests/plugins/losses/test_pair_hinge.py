"""PairHinge against its definition, pair by pair."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.pair_hinge import PairHinge


def context(visible: int, infrared: int) -> Context:
    return Context({m: count for m, count in (('visible', visible), ('infrared', infrared)) if count})


def literal(feature: torch.Tensor, persons: list[int], visible: int, r: int) -> torch.Tensor:
    halves: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for i in range(visible):
        for j in range(visible, len(persons)):
            value = 2 * feature[i, 2 * r] + 2 * feature[j, 2 * r]
            for k in range(r):
                value = value + feature[i, k] ** 2 + feature[j, k] ** 2 - 2 * feature[i, r + k] * feature[j, r + k]
            same = persons[i] == persons[j]
            halves[same].append(torch.clamp(1 + value if same else 1 - value, min=0))
    return sum(sum(terms) / len(terms) for terms in halves.values() if terms) / 2


@pytest.mark.parametrize(
    ('persons', 'visible'),
    [([0, 0, 1, 2, 0, 1, 1], 4), ([0, 0, 0, 0], 2), ([0, 1, 2, 3], 2)],
    ids=['both', 'one identity', 'nobody in both'],
)
def test_equals_the_literal_loop_with_gradients(persons, visible):
    torch.manual_seed(0)
    free = torch.randn(len(persons), 7, dtype=torch.float64, requires_grad=True)
    feature = torch.cat([free, torch.ones(len(persons), 1)], dim=1)
    loss = PairHinge()(HeadOutput(feature), torch.tensor(persons), context(visible, len(persons) - visible))
    expected = literal(feature, persons, visible, 3)
    assert torch.allclose(loss, expected, rtol=0, atol=1e-10)
    found, wanted = (torch.autograd.grad(value, free, retain_graph=True)[0] for value in (loss, expected))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_by_hand():
    # r = 1, rows (own, across, linear, 1): S of the pair (0, 2) is 4 + 1 - 2 * 3 * 1 + 2 * 0.25 + 2 * 0.5 = 0.5
    feature = torch.tensor([[2, 3, 0.25, 1], [1, 0, 0, 1], [1, 1, 0.5, 1]])
    # they are one identity, which costs 1 + 0.5; S of (1, 2), of two, is 1 + 1 + 1 = 3, which costs nothing
    assert PairHinge()(HeadOutput(feature), torch.tensor([0, 1, 0]), context(2, 1)).item() == pytest.approx(0.75)


@pytest.mark.parametrize('visible', [0, 4])
def test_one_modality_alone_gives_zero_and_a_gradient_of_zero(visible):
    feature = torch.randn(4, 6, requires_grad=True)
    loss = PairHinge()(HeadOutput(feature), torch.tensor([0, 0, 1, 1]), context(visible, 4 - visible))
    assert loss.item() == 0
    loss.backward()
    assert not feature.grad.any()


@pytest.mark.parametrize('shape', [(4, 7), (4, 2), (4, 2, 6)])
def test_another_feature_is_refused(shape):
    with pytest.raises(Mismatch, match='GeneralizedSimilarity'):
        PairHinge()(HeadOutput(torch.randn(shape)), torch.tensor([0, 1, 0, 1]), context(2, 2))
