"""MLFM against Eq. 2 and 3, image by image and channel by channel."""

from __future__ import annotations

import pytest
import torch

from vireid.core.types import Context, FeatureSpec
from vireid.errors import Mismatch
from vireid.plugins.necks.mlfm import MLFM

CONTEXT = Context({'visible': 3})


def literal(levels: list[torch.Tensor], w1, b1, w2, b2) -> torch.Tensor:
    """Eq. 2-3 and the sum of the boosted levels, L2-normalized, with plain loops."""
    images, c = levels[0].shape
    rows = []
    for n in range(images):
        s = [levels[level][n, k] for level in range(len(levels)) for k in range(c)]
        hidden = []
        for j in range(w1.shape[0]):
            hidden.append(torch.relu(b1[j] + sum(w1[j, i] * s[i] for i in range(len(s)))))
        boosted = []
        for i in range(len(s)):
            a = 1 / (1 + torch.exp(-(b2[i] + sum(w2[i, j] * hidden[j] for j in range(len(hidden))))))
            boosted.append(a * s[i] + s[i])
        fused = [sum(boosted[level * c + k] for level in range(len(levels))) for k in range(c)]
        length = torch.sqrt(sum(value * value for value in fused))
        rows.append(torch.stack([value / length for value in fused]))
    return torch.stack(rows)


@pytest.mark.parametrize('levels', [2, 3])
def test_equals_the_literal_loop_with_gradients(levels):
    torch.manual_seed(levels)
    module = MLFM([FeatureSpec(4)] * levels, reduction=2).double()
    inputs = [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(levels)]
    w1, w2 = module.mask[0], module.mask[2]
    leaves = [*inputs, w1.weight, w1.bias, w2.weight, w2.bias]
    direction = torch.randn(3, 4, dtype=torch.float64)
    output = module(*inputs, context=CONTEXT)
    expected = literal(inputs, w1.weight, w1.bias, w2.weight, w2.bias)
    assert torch.allclose(output, expected, rtol=0, atol=1e-10)
    gradients = torch.autograd.grad((output * direction).sum(), leaves)
    literal_gradients = torch.autograd.grad((expected * direction).sum(), leaves)
    for found, wanted in zip(gradients, literal_gradients, strict=True):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_without_attention_it_is_the_normalized_sum():
    module = MLFM([FeatureSpec(2)] * 3, attention=False)
    levels = [torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 3.0]])]
    output = module(*levels, context=CONTEXT)
    assert output[0].tolist() == pytest.approx([3 / 5, 4 / 5])  # (3, 4) has length 5
    assert list(module.parameters()) == []


def test_a_mask_of_zero_weights_keeps_every_ratio():
    module = MLFM([FeatureSpec(2)] * 2, reduction=2)
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    # A = sigmoid(0) = 1/2 everywhere, so S* = 1.5 S and the direction is that of the plain sum
    output = module(torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 2.0]]), context=CONTEXT)
    assert output[0].tolist() == pytest.approx([3 / 5, 4 / 5])


def test_the_output_has_length_one():
    module = MLFM([FeatureSpec(16)] * 3)
    output = module(*(100 * torch.randn(5, 16) for _ in range(3)), context=CONTEXT)
    assert output.norm(dim=1).tolist() == pytest.approx([1.0] * 5, abs=1e-6)
    assert torch.isfinite(output).all()


def test_reduction_sets_the_width_of_the_mask():
    assert MLFM([FeatureSpec(1024)] * 3).mask[0].weight.shape == (192, 3072)  # 3 * 1024 / 16


@pytest.mark.parametrize(
    ('specs', 'fact'),
    [
        ([FeatureSpec(4), FeatureSpec(5)], 'vector of 4, vector of 5'),
        ([FeatureSpec(4, 'map'), FeatureSpec(4)], 'map of 4, vector of 4'),
    ],
)
def test_levels_that_cannot_be_added(specs, fact):
    with pytest.raises(Mismatch, match=fact):
        MLFM(specs)
