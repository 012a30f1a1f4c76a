"""AttributeDecoder: its norms against literal loops, its parameters by hand."""

from __future__ import annotations

import pytest
import torch

from vireid.errors import WrongValue
from vireid.plugins.models.attribute_decoder import AdaptiveResidualBlock, AttributeDecoder, ImageNorm, adaptive_norm


def test_adaptive_norm_is_the_literal_loop_with_gradients():
    torch.manual_seed(0)
    x, scales, biases = (
        torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((2, 3, 4, 5), (2, 3), (2, 3))
    )
    wanted = torch.empty(2, 3, 4, 5, dtype=torch.float64)
    for b in range(2):
        for c in range(3):
            one = x[b, c]
            variance = sum((v - one.mean()) ** 2 for v in one.flatten()) / 20
            wanted[b, c] = scales[b, c] * (one - one.mean()) / (variance + 1e-5).sqrt() + biases[b, c]
    found = adaptive_norm(x, scales, biases)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)
    weights = torch.randn_like(found)
    for tensor in (x, scales, biases):
        (own,), (other,) = (
            torch.autograd.grad((y * weights).sum(), tensor, retain_graph=True) for y in (found, wanted)
        )
        assert torch.allclose(own, other, rtol=0, atol=1e-10)


def test_image_norm_is_the_literal_loop():
    torch.manual_seed(0)
    norm, x = ImageNorm(3).double(), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    norm.bias.data.normal_()
    found = norm(x)
    for b in range(2):
        mean = x[b].sum() / 60
        std = (sum((v - mean) ** 2 for v in x[b].flatten()) / 59).sqrt()
        for c in range(3):
            wanted = norm.scale[c] * (x[b, c] - mean) / (std + 1e-5) + norm.bias[c]
            assert torch.allclose(found[b, c], wanted, rtol=0, atol=1e-10)


def test_each_block_reads_its_slice_of_the_code():
    torch.manual_seed(0)
    decoder = AttributeDecoder(4, 16, hidden=5)
    seen = []
    for block in decoder.blocks:
        block.register_forward_pre_hook(lambda module, given: seen.append(given[1]))
    codes = torch.arange(16.0)[None]
    images = decoder(torch.randn(1, 4, 3, 2), codes)
    assert images.shape == (1, 3, 12, 8)
    assert torch.cat(seen, dim=1).tolist() == codes.tolist()


def test_the_first_norm_of_a_block_takes_the_first_half_of_scales_and_biases():
    torch.manual_seed(0)
    block = AdaptiveResidualBlock(2, 3, 4).double()
    x, code = torch.randn(1, 2, 3, 3, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    scales, biases = block.scales(code), block.biases(code)
    inner = adaptive_norm(block.first(x), scales[:, :2], biases[:, :2])
    inner = torch.where(inner > 0, inner, 0.3 * inner)
    wanted = x + adaptive_norm(block.second(inner), scales[:, 2:], biases[:, 2:])
    assert torch.allclose(block(x, code), wanted, rtol=0, atol=1e-12)


def test_parameters_of_the_paper_size():
    with torch.device('meta'):
        decoder = AttributeDecoder(256, 2048)
    perceptron = 3 * (512 * 512 + 512)
    blocks = 4 * (2 * (256 * 256 * 9 + 256) + 2 * perceptron)
    up = 256 * 128 * 25 + 128 + 2 * 128 + 128 * 64 * 25 + 64 + 2 * 64
    image = 2 * (64 * 64 * 9 + 64) + 64 * 3 + 3
    assert sum(p.numel() for p in decoder.parameters()) == blocks + up + image == 12_123_011


def test_refuses_channels_that_do_not_divide():
    with pytest.raises(WrongValue, match=r'inputs .* 6'):
        AttributeDecoder(6, 16)
