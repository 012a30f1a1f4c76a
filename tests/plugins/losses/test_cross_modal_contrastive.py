"""CrossModalContrastive against its definition, pair by pair."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import Context, HeadOutput
from vireid.plugins.losses.cross_modal_contrastive import CrossModalContrastive


def context(visible: int, infrared: int, **others: int) -> Context:
    return Context({'visible': visible, 'infrared': infrared, **others})


def literal(feature: torch.Tensor, identities: list[int], visible: int, margin: float, balanced: bool) -> torch.Tensor:
    pulled, pushed = [], []
    unit = [row / (row * row).sum().sqrt() for row in feature]
    for i in range(visible):
        for j in range(visible, len(unit)):
            d = ((unit[i] - unit[j]) ** 2).sum().sqrt()
            if identities[i] == identities[j]:
                pulled.append(d**2 / 2)
            else:
                pushed.append(torch.clamp(margin - d, min=0) ** 2 / 2)
    if balanced:
        return sum(pulled) / len(pulled) / 2 + sum(pushed) / len(pushed) / 2
    return (sum(pulled) + sum(pushed)) / (len(pulled) + len(pushed))


@pytest.mark.parametrize('balanced', [True, False])
@pytest.mark.parametrize('margin', [0.5, 1.6])
def test_equals_the_literal_loop_with_gradients(balanced, margin):
    torch.manual_seed(0)
    identities = [0, 0, 1, 2, 0, 1, 1, 3]
    feature = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    found = CrossModalContrastive(margin, balanced)(HeadOutput(feature), torch.tensor(identities), context(4, 4))
    wanted = literal(feature, identities, 4, margin, balanced)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-10)
    gradients = (torch.autograd.grad(loss, feature)[0] for loss in (found, wanted))
    assert torch.allclose(*gradients, rtol=0, atol=1e-10)


def test_by_hand():
    # right angles: the positive pair at sqrt 2 costs 1; the negative pair at 0 costs margin^2 / 2 = 0.5
    feature = torch.tensor([[3.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    loss = CrossModalContrastive(margin=1.0)(HeadOutput(feature), torch.tensor([0, 1, 1]), context(2, 1))
    assert loss.item() == pytest.approx((1 + 0.5) / 2, abs=1e-5)


@pytest.mark.parametrize('balanced', [True, False])
@pytest.mark.parametrize(
    ('identities', 'counts'),
    [([0, 0, 0, 0], (2, 2)), ([0, 1, 2, 3], (2, 2)), ([0, 1, 0, 1], (4, 0)), ([0, 1, 0, 1], (0, 4))],
)
def test_what_is_missing_adds_nothing(balanced, identities, counts):
    torch.manual_seed(0)
    feature = torch.randn(4, 3, requires_grad=True)
    loss = CrossModalContrastive(balanced=balanced)(HeadOutput(feature), torch.tensor(identities), context(*counts))
    loss.backward()
    assert torch.isfinite(feature.grad).all()
    if 0 in counts:
        assert loss.item() == 0
        assert feature.grad.abs().max() == 0


def test_equal_features_cost_the_margin_and_have_a_finite_gradient():
    feature = torch.ones(4, 3, requires_grad=True)
    loss = CrossModalContrastive(margin=0.4)(HeadOutput(feature), torch.tensor([0, 1, 0, 1]), context(2, 2))
    loss.backward()
    assert loss.item() == pytest.approx(0.4**2 / 4, abs=1e-5)
    assert torch.isfinite(feature.grad).all()


def test_an_auxiliary_modality_is_left_out():
    torch.manual_seed(0)
    feature, identities = torch.randn(6, 3), torch.tensor([0, 1, 0, 1, 0, 1])
    with_others = CrossModalContrastive()(HeadOutput(feature), identities, context(2, 2, x=2))
    assert with_others == CrossModalContrastive()(HeadOutput(feature[:4]), identities[:4], context(2, 2))
