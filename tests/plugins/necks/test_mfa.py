"""MFA against its definition, sum by sum, in both readings, and as the identity at first."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import FeatureSpec
from vireid.errors import Mismatch, WrongValue
from vireid.plugins.necks.mfa import MFA


def mfa(low=(4, (6, 4)), high=(6, (3, 2)), **settings) -> MFA:
    return MFA(tuple(FeatureSpec(channels, 'map', size=size) for channels, size in (low, high)), **settings)


def affinity(sums: torch.Tensor, softmax: bool) -> torch.Tensor:
    return sums.exp() / sums.exp().sum(dim=1, keepdim=True) if softmax else sums / sums.shape[1]


def conv(layer, cells: torch.Tensor) -> torch.Tensor:
    """A 1x1 convolution of (C, N) cells."""
    shift = 0 if layer.bias is None else layer.bias[:, None]
    return layer.weight[:, :, 0, 0] @ cells + shift


def norm(layer, rows: torch.Tensor) -> torch.Tensor:
    """BatchNorm of (B, C, N) in training."""
    mean = rows.mean(dim=(0, 2), keepdim=True)
    spread = ((rows - mean) ** 2).mean(dim=(0, 2), keepdim=True)
    return layer.weight[:, None] * (rows - mean) / (spread + layer.eps).sqrt() + layer.bias[:, None]


def literal(made: MFA, low: torch.Tensor, high: torch.Tensor, stride: int, softmax: bool, fold: bool) -> torch.Tensor:
    part, sums = made.channels, []
    for one, two in zip(low, high, strict=True):
        # strided convolutions read every n-th cell; the affinity is between channels
        sampled = one[:, ::stride, ::stride].flatten(1)
        q, k, v = conv(part.q, two.flatten(1)), conv(part.k, sampled), conv(part.v, sampled)
        inner = range(len(q))
        weights = affinity(torch.stack([torch.stack([(q[c] * k[d]).sum() for d in inner]) for c in inner]), softmax)
        sums.append(conv(part.W, torch.stack([sum(weights[c, d] * v[d] for d in inner) for c in inner])))
    high = high + norm(part.norm, torch.stack(sums)).reshape(high.shape)
    part, sums = made.positions, []
    for one, two in zip(low, high, strict=True):
        q, k, v = conv(part.q, two.flatten(1)), conv(part.k, one.flatten(1)), conv(part.v, one.flatten(1))
        if fold:  # the first and the second half of the positions become channels 2 c and 2 c + 1
            q, k, v = (torch.stack(x.chunk(2, dim=1), dim=1).flatten(0, 1) for x in (q, k, v))
        rows, columns = range(q.shape[1]), range(k.shape[1])
        weights = affinity(
            torch.stack([torch.stack([(q[:, i] * k[:, j]).sum() for j in columns]) for i in rows]), softmax
        )
        y = torch.stack([sum(weights[i, j] * v[:, j] for j in columns) for i in rows], dim=1)
        if fold:
            y = torch.cat([y[::2], y[1::2]], dim=1)
        sums.append(conv(part.W, y))
    return high + norm(part.norm, torch.stack(sums)).reshape(high.shape)


@pytest.mark.parametrize('fold', [False, True])
@pytest.mark.parametrize('softmax', [False, True])
@pytest.mark.parametrize('size', [(3, 2), (6, 4)], ids=['stride 2', 'stride 1'])
def test_equals_the_literal_loop_with_gradients(size, softmax, fold):
    torch.manual_seed(0)
    made = mfa(high=(6, size), softmax=softmax, fold=fold).double()
    for part in (made.channels, made.positions):
        torch.nn.init.normal_(part.norm.weight)
        torch.nn.init.normal_(part.norm.bias)
    low = torch.randn(2, 4, 6, 4, dtype=torch.float64, requires_grad=True)
    high = torch.randn(2, 6, *size, dtype=torch.float64, requires_grad=True)
    found, wanted = made(low, high, None), literal(made, low, high, 6 // size[0], softmax, fold)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)
    direction = torch.randn_like(found)
    leaves = [low, high, *made.parameters()]
    pairs = (torch.autograd.grad((value * direction).sum(), leaves) for value in (found, wanted))
    for one, other in zip(*pairs, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-9)


def test_a_new_block_is_the_identity():
    torch.manual_seed(0)
    high = torch.randn(2, 6, 3, 2)
    assert torch.equal(mfa()(torch.randn(2, 4, 6, 4), high, None), high)


@pytest.mark.parametrize('size', [(5, 3), (1, 1), (7, 2)])
def test_a_map_of_odd_size_is_halved_as_a_strided_convolution_does(size):
    low = torch.randn(2, 4, *size)
    high = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1)(low)
    made = mfa((4, size), (6, tuple(high.shape[2:])))
    assert made(low, high, None).shape == high.shape


def test_its_parameters_by_hand():
    # channels: q from 6 to 4, k and v from 4 to 4, W from 4 to 6, BatchNorm of 6; positions: the same with 2 inside
    channels = (6 * 4 + 4) + 2 * (4 * 4 + 4) + 4 * 6 + 2 * 6
    positions = (6 * 2 + 2) + 2 * (4 * 2 + 2) + 2 * 6 + 2 * 6
    assert sum(p.numel() for p in mfa().parameters()) == channels + positions == 162


def test_many_positions_do_not_overflow_in_half_precision():
    made = mfa((4, (64, 32)), (6, (64, 32))).eval()
    for parameter in made.channels.parameters():
        torch.nn.init.zeros_(parameter)
    for layer in (made.positions.q, made.positions.k, made.positions.v, made.positions.W):
        torch.nn.init.constant_(layer.weight, 0.1)
    torch.nn.init.ones_(made.positions.norm.weight)
    maps = [torch.full((1, c, 64, 32), 20.0) for c in (4, 6)]  # k and v are 8: their products sum to 131,072
    wanted = made(*maps, None)
    assert torch.allclose(made.half()(*(x.half() for x in maps), None).float(), wanted, rtol=0.02)


@pytest.mark.parametrize(
    ('settings', 'error', 'fact'),
    [
        ({'high': (6, (5, 2))}, Mismatch, '6 x 4 .* 5 x 2'),
        ({'reduction': 5}, WrongValue, r'reduction is 5\n  allowed: .* 4'),
        ({'reduction': 3, 'fold': True}, WrongValue, r'reduction is 3\n  allowed: .*divisor .* 4'),
        ({'low': (4, (6, 2)), 'high': (6, (3, 1)), 'fold': True}, Mismatch, '3 x 1, .* 2 '),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, error, fact):
    with pytest.raises(error, match=fact):
        mfa(**settings)


def test_one_map_is_refused_with_the_number_it_needs():
    with pytest.raises(Mismatch, match=r'MFA .*map of 4\n  allowed: 2 '):
        MFA((FeatureSpec(4, 'map'),))
