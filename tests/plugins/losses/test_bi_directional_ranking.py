"""BiDirectionalRanking against its definition, anchor by anchor."""

from __future__ import annotations

import math

import pytest
import torch

from vireid.core.types import Context, HeadOutput
from vireid.plugins.losses.bi_directional_ranking import BiDirectionalRanking


def context(visible: int, infrared: int, **others: int) -> Context:
    return Context({'visible': visible, 'infrared': infrared, **others})


def literal(feature: torch.Tensor, identities: list[int], visible: int, ranking: BiDirectionalRanking) -> torch.Tensor:
    unit = [row / (row * row).sum().sqrt() for row in feature]

    def d(i: int, j: int) -> torch.Tensor:
        return ((unit[i] - unit[j]) ** 2).sum().sqrt()

    modalities = [list(range(visible)), list(range(visible, len(unit)))]
    total = torch.zeros((), dtype=torch.float64)
    for anchors, others in (modalities, modalities[::-1]):
        for i in anchors:
            own = [j for j in others if identities[j] == identities[i]]
            foreign = [j for j in others if identities[j] != identities[i]]
            if not own or not foreign:
                continue
            p, n = max(own, key=lambda j: d(i, j).item()), min(foreign, key=lambda j: d(i, j).item())
            total = total + torch.clamp(ranking.margin + d(i, p) - d(i, n), min=0) / len(anchors)
            if ranking.intra_negative == 'positive':
                n = min(foreign, key=lambda j: d(p, j).item())
            intra = torch.clamp(ranking.intra_margin - d(p, n), min=0)
            total = total + ranking.intra_weight * intra / len(anchors)
    return total


@pytest.mark.parametrize('intra_negative', ['anchor', 'positive'])
@pytest.mark.parametrize(
    'identities', [[0, 0, 1, 2, 0, 1, 2, 2], [0, 0, 1, 2, 0, 1, 1, 3]]
)  # identities 2 and 3 have one modality only
def test_equals_the_literal_loop_with_gradients(intra_negative, identities):
    torch.manual_seed(1)
    feature = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    # margins that only some pairs reach
    ranking = BiDirectionalRanking(0.3, intra_margin=1.3, intra_weight=0.7, intra_negative=intra_negative)
    found = ranking(HeadOutput(feature), torch.tensor(identities), context(4, 4))
    wanted = literal(feature, identities, 4, ranking)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-10)
    gradients = (torch.autograd.grad(loss, feature)[0] for loss in (found, wanted))
    assert torch.allclose(*gradients, rtol=0, atol=1e-10)


def on_the_circle(*degrees: float) -> torch.Tensor:
    """Vectors of lengths 1, 2, ... at these angles; after normalization, their distance is 2 sin(difference / 2)."""
    turns = [math.radians(angle) for angle in degrees]
    return torch.tensor([[n * math.cos(t), n * math.sin(t)] for n, t in enumerate(turns, 1)], dtype=torch.float64)


def chord(degrees: float) -> float:
    return 2 * math.sin(math.radians(degrees) / 2)


def test_by_hand():
    feature = on_the_circle(0, 90, 30, 40)  # visible identities 0 and 1, infrared 0 and 1
    loss = BiDirectionalRanking(margin=0.5, intra_margin=0.3, intra_weight=0.1)
    found = loss(HeadOutput(feature), torch.tensor([0, 1, 0, 1]), context(2, 2))
    gaps = [chord(30) - chord(40), chord(50) - chord(60), chord(30) - chord(60), chord(50) - chord(40)]
    ranked = sum(max(0, 0.5 + gap) for gap in gaps) / 2
    intra = 0.3 - chord(10)  # the infrared pair, once per visible anchor; the visible pair is far apart
    assert found.item() == pytest.approx(ranked + 0.1 * intra, abs=1e-10)


def test_the_two_readings_of_the_intra_modality_constraint():
    # anchor 0 degrees; infrared: its own at 60, others at -50 (nearest to the anchor) and 75 (nearest to its own)
    feature = on_the_circle(0, 60, -50, 75)
    persons = torch.tensor([0, 0, 1, 2])

    def intra(reading: str) -> float:
        losses = [
            BiDirectionalRanking(0, intra_margin=2, intra_weight=w, intra_negative=reading)(  # type: ignore[arg-type]
                HeadOutput(feature), persons, context(1, 3)
            ).item()
            for w in (1, 0)
        ]
        return losses[0] - losses[1]

    assert intra('anchor') == pytest.approx(2 - chord(110), abs=1e-10)
    assert intra('positive') == pytest.approx(2 - chord(15), abs=1e-10)


@pytest.mark.parametrize('intra_negative', ['anchor', 'positive'])
@pytest.mark.parametrize(
    ('identities', 'counts'),
    [([0, 0, 0, 0], (2, 2)), ([0, 1, 2, 3], (2, 2)), ([0, 1, 0, 1], (4, 0)), ([0, 1, 0, 1], (0, 4))],
)
def test_without_a_positive_or_a_negative_it_is_zero_with_a_zero_gradient(intra_negative, identities, counts):
    torch.manual_seed(0)
    feature = torch.randn(4, 3, requires_grad=True)
    loss = BiDirectionalRanking(intra_negative=intra_negative, intra_margin=2)(
        HeadOutput(feature), torch.tensor(identities), context(*counts)
    )
    loss.backward()
    assert loss.item() == 0
    assert feature.grad.abs().max() == 0


def test_equal_features_cost_the_margins_and_have_a_finite_gradient():
    feature = torch.ones(4, 3, requires_grad=True)
    loss = BiDirectionalRanking(0.5, 0.1, 0.1)(HeadOutput(feature), torch.tensor([0, 1, 0, 1]), context(2, 2))
    loss.backward()
    assert loss.item() == pytest.approx(2 * (0.5 + 0.1 * 0.1), abs=1e-5)
    assert torch.isfinite(feature.grad).all()


def test_an_auxiliary_modality_is_left_out():
    torch.manual_seed(0)
    feature, identities = torch.randn(6, 3), torch.tensor([0, 1, 0, 1, 0, 1])
    with_others = BiDirectionalRanking()(HeadOutput(feature), identities, context(2, 2, x=2))
    assert with_others == BiDirectionalRanking()(HeadOutput(feature[:4]), identities[:4], context(2, 2))
