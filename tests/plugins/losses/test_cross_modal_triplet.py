"""CrossModalTriplet against its definition, triplet by triplet."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.bi_directional_ranking import BiDirectionalRanking
from vireid.plugins.losses.cross_modal_triplet import CrossModalTriplet

PERSONS = [
    ([0, 0, 1, 2, 0, 1, 1, 2], 4),
    ([0, 1, 2, 3, 3, 2, 1, 0], 4),
    ([0, 0, 1, 4, 0, 1, 5], 4),  # two images without a positive
]


def context(visible: int, infrared: int) -> Context:
    return Context({m: count for m, count in (('visible', visible), ('infrared', infrared)) if count})


def literal(feature: torch.Tensor, persons: list[int], visible: int, margin: float, hardest: bool) -> torch.Tensor:
    total = feature.new_zeros(())
    groups = [range(visible), range(visible, len(persons))]
    for anchors, others in (groups, groups[::-1]):
        terms = []
        for a in anchors:
            positives = [(feature[a] - feature[p]).norm() for p in others if persons[p] == persons[a]]
            negatives = [(feature[a] - feature[n]).norm() for n in others if persons[n] != persons[a]]
            if hardest and positives and negatives:
                positives, negatives = [max(positives)], [min(negatives)]
            terms += [(margin + p - n).clamp_min(0) for p in positives for n in negatives]
        total = total + sum(terms) / max(len(terms), 1)
    return total


@pytest.mark.parametrize('triplets', ['all', 'hardest'])
@pytest.mark.parametrize(('persons', 'visible'), PERSONS)
def test_equals_the_literal_loop_with_gradients(triplets, persons, visible):
    torch.manual_seed(0)
    feature = torch.randn(len(persons), 4, dtype=torch.float64, requires_grad=True)
    loss = CrossModalTriplet(1.4, triplets)(
        HeadOutput(feature), torch.tensor(persons), context(visible, len(persons) - visible)
    )
    expected = literal(feature, persons, visible, 1.4, triplets == 'hardest')
    assert torch.allclose(loss, expected, rtol=0, atol=1e-10)
    found, wanted = (torch.autograd.grad(value, feature, retain_graph=True)[0] for value in (loss, expected))
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_the_hardest_of_unit_vectors_are_those_of_the_ranking_loss_of_bdtr():
    torch.manual_seed(0)
    output, persons = HeadOutput(torch.randn(8, 4)), torch.tensor([0, 0, 1, 2, 0, 1, 1, 2])
    own = CrossModalTriplet(1.4, 'hardest', normalize=True)(output, persons, context(4, 4))
    assert torch.allclose(own, BiDirectionalRanking(1.4, intra_weight=0)(output, persons, context(4, 4)))


def test_by_hand():
    # on a line: visible 0 of identity 0; infrared 1 of identity 0, and 2 of identity 1
    feature = torch.tensor([[0.0], [1.0], [2.0]])
    loss = CrossModalTriplet(1.4)(HeadOutput(feature), torch.tensor([0, 0, 1]), context(1, 2))
    assert loss.item() == pytest.approx(1.4 + 1 - 2)  # the infrared anchors have no visible negative or positive


@pytest.mark.parametrize('triplets', ['all', 'hardest'])
@pytest.mark.parametrize(
    ('persons', 'counts'), [([0, 0, 0, 0], (2, 2)), ([0, 1, 2, 3], (2, 2)), ([0, 1, 0, 1], (4, 0))]
)
def test_without_a_triplet_it_is_zero_with_a_zero_gradient(triplets, persons, counts):
    feature = torch.randn(4, 3, requires_grad=True)
    loss = CrossModalTriplet(triplets=triplets)(HeadOutput(feature), torch.tensor(persons), context(*counts))
    loss.backward()
    assert loss.item() == 0
    assert feature.grad.abs().max() == 0


def test_parts_are_refused():
    with pytest.raises(Mismatch, match=r'CrossModalTriplet .*parts'):
        CrossModalTriplet()(HeadOutput(torch.randn(4, 2, 3)), torch.tensor([0, 1, 0, 1]), context(2, 2))
