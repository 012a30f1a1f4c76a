"""ModalityCrossEntropy against its definition, and whom its gradient reaches."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vireid.core.types import Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.modality_cross_entropy import ModalityCrossEntropy


@pytest.mark.parametrize('inverted', [False, True])
@pytest.mark.parametrize(('visible', 'infrared'), [(3, 2), (4, 0), (0, 1)])
def test_equals_the_literal_loop_with_gradients(inverted, visible, infrared):
    torch.manual_seed(0)
    scores = torch.randn(visible + infrared, 2, dtype=torch.float64, requires_grad=True)
    context = Context({'visible': visible, 'infrared': infrared})
    loss = ModalityCrossEntropy(inverted)(HeadOutput(scores), torch.zeros(len(scores), dtype=torch.int64), context)
    expected = torch.zeros((), dtype=torch.float64)
    for row, score in enumerate(scores):
        truth = int(row >= visible)
        wanted = 1 - truth if inverted else truth
        expected = expected - torch.log(torch.exp(score[wanted]) / (torch.exp(score[0]) + torch.exp(score[1])))
    expected = expected / len(scores)
    assert torch.allclose(loss, expected, rtol=0, atol=1e-10)
    found, literal = (torch.autograd.grad(value, scores, retain_graph=True)[0] for value in (loss, expected))
    assert torch.allclose(found, literal, rtol=0, atol=1e-10)


def test_by_hand():
    # right with 3/4 for the visible image, wrong with 1/2 for the infrared one, and an auxiliary one that is ignored
    scores = torch.tensor([[math.log(3), 0.0], [0.0, 0.0], [9.0, 0.0]])
    labels, context = torch.zeros(3, dtype=torch.int64), Context({'visible': 1, 'infrared': 1, 'x': 1})
    found = [ModalityCrossEntropy(inverted)(HeadOutput(scores), labels, context).item() for inverted in (False, True)]
    assert found == pytest.approx([(math.log(4 / 3) + math.log(2)) / 2, (math.log(4) + math.log(2)) / 2])


def test_where_the_discriminator_is_sure_only_the_inverted_loss_has_a_gradient():
    scores = torch.tensor([[20.0, -20.0], [-20.0, 20.0]], requires_grad=True)
    labels, context = torch.zeros(2, dtype=torch.int64), Context({'visible': 1, 'infrared': 1})
    for inverted, steep in ((False, 0.0), (True, 0.5)):
        loss = ModalityCrossEntropy(inverted)(HeadOutput(scores), labels, context)
        (gradient,) = torch.autograd.grad(loss, scores)
        assert torch.allclose(gradient.abs(), torch.full((2, 2), steep))


def test_another_feature_is_refused():
    with pytest.raises(Mismatch, match=r'\(2, 3\) .* 2 [\s\S]*visible, infrared'):
        ModalityCrossEntropy()(HeadOutput(nn.Linear(3, 3)(torch.ones(2, 3))), torch.tensor([0, 1]), Context({}))
