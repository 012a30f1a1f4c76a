"""CenterConstrainedRanking against its definition, anchor by anchor."""

from __future__ import annotations

import math

import pytest
import torch

from vireid.core.types import Context, HeadOutput
from vireid.plugins.losses.center_constrained_ranking import CenterConstrainedRanking


def context(visible: int, infrared: int, **others: int) -> Context:
    return Context({'visible': visible, 'infrared': infrared, **others})


def literal(feature: torch.Tensor, identities: list[int], visible: int, margin: float, negatives: str) -> torch.Tensor:
    unit = [row / (row * row).sum().sqrt() for row in feature]

    def length(vector: torch.Tensor) -> torch.Tensor:
        return (vector**2).sum().sqrt()

    modalities = [list(range(visible)), list(range(visible, len(unit)))]
    total = torch.zeros((), dtype=torch.float64)
    for anchors, others in (modalities, modalities[::-1]):
        for i in anchors:
            own = [j for j in others if identities[j] == identities[i]]
            sought = others if negatives == 'other' else anchors + others
            foreign = [j for j in sought if identities[j] != identities[i]]
            if not own or not foreign:
                continue
            center = sum(unit[j] for j in own) / len(own)
            nearest = torch.stack([length(unit[i] - unit[j]) for j in foreign]).min()
            total = total + torch.clamp(margin + length(unit[i] - center) - nearest, min=0) / len(anchors)
    return total


@pytest.mark.parametrize('negatives', ['other', 'both'])
@pytest.mark.parametrize(
    'identities', [[0, 0, 1, 2, 0, 1, 2, 2], [0, 0, 1, 2, 0, 1, 1, 3]]
)  # identities 2 and 3 have one modality only
def test_equals_the_literal_loop_with_gradients(negatives, identities):
    torch.manual_seed(1)
    feature = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    found = CenterConstrainedRanking(0.3, negatives)(HeadOutput(feature), torch.tensor(identities), context(4, 4))
    wanted = literal(feature, identities, 4, 0.3, negatives)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-10)
    assert wanted > 0
    gradients = (torch.autograd.grad(loss, feature)[0] for loss in (found, wanted))
    assert torch.allclose(*gradients, rtol=0, atol=1e-10)


@pytest.mark.parametrize(('negatives', 'nearest'), [('other', math.sqrt(2)), ('both', 0.0)])
def test_by_hand(negatives, nearest):
    # visible: identities 0 and 1 on the right; infrared: identity 0 at top and bottom, identity 2 at top
    feature = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [0.0, -1.0], [0.0, 1.0]])
    loss = CenterConstrainedRanking(margin=1.0, negatives=negatives)
    found = loss(HeadOutput(feature), torch.tensor([0, 1, 0, 0, 2]), context(2, 3))
    # the center of identity 0's infrared images is the origin, at 1; `both` does not change the infrared terms:
    # the top one coincides with the other identity, the bottom one is sqrt 2 from the visible other, 2 away
    visible = max(0, 1 + 1 - nearest) / 2
    above = 1 + math.sqrt(2) - (math.sqrt(2) if negatives == 'other' else 0)
    below = 1 + math.sqrt(2) - math.sqrt(2)
    assert found.item() == pytest.approx(visible + (above + below) / 3, abs=1e-5)


@pytest.mark.parametrize('negatives', ['other', 'both'])
@pytest.mark.parametrize(
    ('identities', 'counts'),
    [([0, 0, 0, 0], (2, 2)), ([0, 1, 2, 3], (2, 2)), ([0, 1, 0, 1], (4, 0)), ([0, 1, 0, 1], (0, 4))],
)
def test_without_a_center_or_a_negative_it_is_zero_with_a_zero_gradient(negatives, identities, counts):
    torch.manual_seed(0)
    feature = torch.randn(4, 3, requires_grad=True)
    loss = CenterConstrainedRanking(negatives=negatives)(
        HeadOutput(feature), torch.tensor(identities), context(*counts)
    )
    loss.backward()
    assert loss.item() == 0
    assert feature.grad.abs().max() == 0


def test_equal_features_cost_the_margin_and_have_a_finite_gradient():
    feature = torch.ones(4, 3, requires_grad=True)
    loss = CenterConstrainedRanking(0.5)(HeadOutput(feature), torch.tensor([0, 1, 0, 1]), context(2, 2))
    loss.backward()
    assert loss.item() == pytest.approx(2 * 0.5, abs=1e-5)
    assert torch.isfinite(feature.grad).all()


def test_an_auxiliary_modality_is_left_out():
    torch.manual_seed(0)
    feature, identities = torch.randn(6, 3), torch.tensor([0, 1, 0, 1, 0, 1])
    with_others = CenterConstrainedRanking()(HeadOutput(feature), identities, context(2, 2, x=2))
    assert with_others == CenterConstrainedRanking()(HeadOutput(feature[:4]), identities[:4], context(2, 2))
