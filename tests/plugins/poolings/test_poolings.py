"""Poolings map (B, C, H, W) to (B, C); checked with numbers computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from vireid.errors import WrongValue
from vireid.plugins.poolings.average import Average
from vireid.plugins.poolings.center_weighted import CenterWeighted
from vireid.plugins.poolings.gem import GeM
from vireid.plugins.poolings.max import Max
from vireid.plugins.poolings.mixed import Mixed

CELLS = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [-4.0, 0.0]]]], dtype=torch.float64)


def test_average_and_max():
    assert Average()(CELLS).tolist() == [[3.0, -1.0]]
    assert Max()(CELLS).tolist() == [[6.0, 0.0]]


def test_columns_are_weighted_by_a_gaussian_around_the_middle():
    # middles of 3 columns at -1/3, 0 and 1/3 of the width, so the outer two weigh exp(-1/2) if that is the deviation
    cells = torch.tensor([[[[1.0, 2.0, 9.0], [1.0, 4.0, 9.0]]]], dtype=torch.float64)
    outer = math.exp(-0.5)
    expected = (outer * 1 + 3 + outer * 9) / (1 + 2 * outer)
    assert CenterWeighted(width=1 / 3)(cells).item() == pytest.approx(expected, rel=1e-6)


def test_wide_weights_average_and_narrow_ones_keep_the_middle():
    assert CenterWeighted(width=10)(CELLS)[0].tolist() == pytest.approx([3.0, -1.0], rel=1e-2)
    assert CenterWeighted(width=0.05)(torch.tensor([[[[7.0, 2.0, 5.0]]]])).item() == pytest.approx(2.0)
    assert CenterWeighted()(torch.full((2, 3, 4, 1), 5.0)).tolist() == [[5.0] * 3] * 2


def test_gem_is_the_root_of_the_mean_of_powers():
    # (1 + 8 + 27 + 216) / 4 = 63; negative values count as eps
    assert GeM(p=3)(CELLS)[0, 0].item() == pytest.approx(63 ** (1 / 3))
    assert GeM(p=3, eps=1e-6)(CELLS)[0, 1].item() == pytest.approx(1e-6)


def test_gem_goes_from_the_average_to_the_maximum():
    positive = CELLS[:, :1]
    assert GeM(p=1)(positive).item() == pytest.approx(3.0)
    assert GeM(p=64)(positive).item() == pytest.approx(6.0, rel=0.03)


def test_gem_learns_its_exponent_unless_told_not_to():
    learning, fixed = GeM(), GeM(learn=False)
    learning(CELLS).sum().backward()
    assert learning.p.grad is not None
    assert not fixed.p.requires_grad


@pytest.mark.parametrize('p', [1.0, 3.0, 8.0, 64.0])
def test_gem_and_its_gradients_are_finite_for_channels_that_are_all_zero_or_large(p):
    cells = torch.tensor([[[[0.0, 0.0]], [[300.0, 1e-3]]]], requires_grad=True)
    pooling = GeM(p)
    found = pooling(cells)
    found.sum().backward()
    assert found[0, 0].item() == pytest.approx(1e-6)
    assert found[0, 1].item() == pytest.approx(300 * 0.5 ** (1 / p), rel=1e-4)
    assert torch.isfinite(cells.grad).all()
    assert torch.isfinite(pooling.p.grad)


def test_gem_has_the_gradient_of_its_formula():
    cells = torch.rand(2, 3, 4, 2, dtype=torch.float64, requires_grad=True)
    pooling = GeM(2.5).double()
    assert torch.autograd.gradcheck(lambda x: pooling(x), (cells,))


def test_gem_keeps_its_exponent_within_bounds():
    pooling = GeM()
    for p, kept in ((-2.0, 1.0), (1000.0, 64.0)):
        pooling.p.data.fill_(p)
        pooling(CELLS)
        assert pooling.p.item() == kept


def test_gem_stays_finite_in_half_precision():
    cells = torch.full((1, 1, 2, 2), 300.0, dtype=torch.bfloat16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert GeM(p=8)(cells).item() == pytest.approx(300, rel=0.01)


def test_mixed_is_between_average_and_maximum():
    assert Mixed(share=0.25)(CELLS).tolist() == [[0.25 * 6 + 0.75 * 3, 0.75 * -1]]
    learned = Mixed(share=0.25, learn=True)
    assert learned(CELLS)[0, 0].item() == pytest.approx(3.75)
    learned(CELLS).sum().backward()
    assert learned.logit.grad is not None


@pytest.mark.parametrize(('share', 'learn'), [(1.5, False), (1.0, True)])
def test_a_share_out_of_range_is_refused(share, learn):
    with pytest.raises(WrongValue, match=f'share is {share}'):
        Mixed(share, learn)
