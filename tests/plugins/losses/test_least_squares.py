"""LeastSquares and L1 by hand, and as literal loops."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import HeadOutput
from vireid.plugins.losses.l1 import L1
from vireid.plugins.losses.least_squares import LeastSquares

LABELS = torch.zeros(2)


def test_by_hand():
    values = torch.tensor([[1.0, 0.0], [3.0, -1.0]])
    assert LeastSquares(1.0)(HeadOutput(values), LABELS).item() == (0 + 1 + 4 + 4) / 4
    assert LeastSquares(0.0)(HeadOutput(values), LABELS).item() == (1 + 0 + 9 + 1) / 4
    assert L1()(HeadOutput(values), LABELS).item() == (1 + 0 + 3 + 1) / 4


@pytest.mark.parametrize(('loss', 'term'), [(LeastSquares(0.5), lambda v: (v - 0.5) ** 2), (L1(), abs)])
@pytest.mark.parametrize('shape', [(3, 4), (3, 2, 4)])
def test_equals_the_literal_loop_with_gradients(loss, term, shape):
    torch.manual_seed(0)
    feature = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    parts = feature.unsqueeze(1) if feature.ndim == 2 else feature
    wanted = torch.zeros((), dtype=torch.float64)
    for part in range(parts.shape[1]):  # parts are summed, images and values averaged
        for row in range(3):
            for column in range(4):
                wanted = wanted + term(parts[row, part, column]) / 12
    found = loss(HeadOutput(feature), LABELS)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-10)
    gradients = [torch.autograd.grad(value, feature)[0] for value in (found, wanted)]
    assert torch.allclose(*gradients, rtol=0, atol=1e-10)
