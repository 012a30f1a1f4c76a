"""PrototypeEncoder against a second implementation, its parameters by hand, and images it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vireid.errors import Mismatch, WrongValue
from vireid.plugins.models.prototype_encoder import PrototypeEncoder


def second(encoder: PrototypeEncoder, images: Tensor) -> Tensor:
    """The definition, layer by layer, from the list of weights and biases."""
    weights = iter(list(encoder.parameters()))

    def layer(x: Tensor, stride: int = 1, dilation: int = 1, bend: bool = True) -> Tensor:
        weight, bias = next(weights), next(weights)
        border = dilation * (weight.shape[2] // 2)
        x = functional.pad(x, (border,) * 4, mode='reflect')
        x = functional.conv2d(x, weight, bias, stride, dilation=dilation)
        mean = x.mean(dim=(2, 3), keepdim=True)
        x = (x - mean) / ((x - mean).square().mean(dim=(2, 3), keepdim=True) + 1e-5).sqrt()
        return torch.where(x > 0, x, 0.3 * x) if bend else x

    x = images
    for stride in (2, 1, 1, 2):
        x = layer(x, stride)
    for _ in range(4):
        x = x + layer(layer(x), bend=False)
    parts = [layer(x, bend=False)]
    for dilation in encoder.dilations:
        parts.append(layer(layer(x), dilation=dilation, bend=False))
    return layer(torch.cat(parts, dim=1), bend=False)


def test_equals_the_second_implementation_with_gradients():
    torch.manual_seed(0)
    encoder = PrototypeEncoder(3, 2, (1, 2)).double()
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    images = torch.randn(2, 3, 16, 12, dtype=torch.float64, requires_grad=True)
    found, wanted = encoder(images), second(encoder, images)
    assert found.shape == (2, 16, 4, 3)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)
    weights = torch.randn_like(found)
    for tensor in (images, *list(encoder.parameters())[::5]):
        (own,), (other,) = (
            torch.autograd.grad((x * weights).sum(), tensor, retain_graph=True) for x in (found, wanted)
        )
        assert torch.allclose(own, other, rtol=0, atol=1e-10)


def test_parameters_of_the_paper_size():
    with torch.device('meta'):
        encoder = PrototypeEncoder()

    def convolution(inputs, outputs, kernel):
        return inputs * outputs * kernel**2 + outputs

    stem = convolution(3, 32, 3) + convolution(32, 64, 3) + convolution(64, 64, 3) + convolution(64, 128, 3)
    branches = convolution(128, 64, 1) + 3 * (convolution(128, 64, 1) + convolution(64, 64, 3))
    wanted = stem + 8 * convolution(128, 128, 3) + branches + convolution(256, 256, 1)
    assert sum(p.numel() for p in encoder.parameters()) == wanted == 1_520_448
    assert encoder(torch.zeros(2, 3, 256, 128, device='meta')).shape == (2, 256, 64, 32)


@pytest.mark.parametrize('size', [(41, 40), (40, 42), (36, 40), (40, 36)])
def test_refuses_images_that_do_not_fit(size):
    with pytest.raises(Mismatch, match=rf' {size[0]} x {size[1]}\n.* 4, .* 40 '):
        PrototypeEncoder(3, 1)(torch.zeros(1, 3, *size))


def test_refuses_sizes_below_1():
    with pytest.raises(WrongValue, match='width is 0'):
        PrototypeEncoder(width=0)
    with pytest.raises(WrongValue, match=r'dilations is \(1, 0\)'):
        PrototypeEncoder(dilations=(1, 0))
