"""ModalityMetric: one matrix per modality."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch, WrongValue
from vireid.plugins.necks.modality_metric import ModalityMetric

CHANNELS = {'visible': 3, 'infrared': 3}


def test_begins_as_the_identity():
    neck = ModalityMetric([FeatureSpec(4)], CHANNELS)
    assert neck.output == FeatureSpec(4)
    assert sum(p.numel() for p in neck.parameters()) == 2 * 4 * 4
    vector = torch.randn(5, 4)
    assert torch.equal(neck(vector, context=Context({'visible': 3, 'infrared': 2})), vector)


def test_equals_the_literal_loop_with_gradients():
    torch.manual_seed(0)
    neck = ModalityMetric([FeatureSpec(4)], CHANNELS, channels=3).double()
    weights = {m: neck.metrics[m].weight for m in CHANNELS}
    for weight in weights.values():
        torch.nn.init.normal_(weight)
    vector = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    output = neck(vector, context=Context({'visible': 3, 'infrared': 2}))
    rows = []
    for row in range(5):
        weight = weights['visible' if row < 3 else 'infrared']
        rows.append(torch.stack([sum(weight[k, c] * vector[row, c] for c in range(4)) for k in range(3)]))
    expected = torch.stack(rows)
    assert torch.allclose(output, expected, rtol=0, atol=1e-10)
    direction, leaves = torch.randn(5, 3, dtype=torch.float64), [vector, *weights.values()]
    found, wanted = (torch.autograd.grad((value * direction).sum(), leaves) for value in (output, expected))
    assert all(torch.allclose(a, b, rtol=0, atol=1e-10) for a, b in zip(found, wanted, strict=True))


def test_distances_within_a_modality_are_those_of_its_metric():
    torch.manual_seed(0)
    neck = ModalityMetric([FeatureSpec(4)], CHANNELS).double()
    torch.nn.init.normal_(neck.metrics['infrared'].weight)
    weight, pair = neck.metrics['infrared'].weight, torch.randn(2, 4, dtype=torch.float64)
    first, second = neck(pair, context=Context({'infrared': 2}))
    gap = pair[0] - pair[1]
    assert torch.allclose((first - second).square().sum(), gap @ (weight.T @ weight) @ gap, rtol=0, atol=1e-10)


def test_one_modality_alone_takes_its_own_matrix():
    neck = ModalityMetric([FeatureSpec(2)], CHANNELS)
    torch.nn.init.zeros_(neck.metrics['visible'].weight)
    vector = torch.ones(3, 2)
    assert not neck(vector, context=Context({'visible': 3})).any()
    assert torch.equal(neck(vector, context=Context({'infrared': 3})), vector)


def test_wrong_arguments():
    with pytest.raises(Mismatch, match=r'ModalityMetric .*map'):
        ModalityMetric([FeatureSpec(4, 'map')], CHANNELS)
    with pytest.raises(WrongValue, match='channels is 5'):
        ModalityMetric([FeatureSpec(4)], CHANNELS, channels=5)
    with pytest.raises(Mismatch, match="'x'"):
        ModalityMetric([FeatureSpec(4)], CHANNELS)(torch.ones(2, 4), context=Context({'x': 2}))
