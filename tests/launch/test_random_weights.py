"""Parameters that will be replaced are not drawn; everything else is as always."""

from __future__ import annotations

import torch
import torchvision
from torch import nn

from vireid.launch.random_weights import SkipRandomWeights


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.norm = nn.BatchNorm2d(5)
        self.register_buffer('projection', torch.randn(2, 2), persistent=False)
        self.register_buffer('filled', nn.init.normal_(torch.empty(2, 2)))


def test_parameters_are_not_drawn_and_buffers_are():
    torch.manual_seed(0)
    drawn = [torch.randn(2, 2), nn.init.normal_(torch.empty(2, 2))]
    torch.manual_seed(0)
    with SkipRandomWeights():
        layers = Layers()
    assert torch.equal(layers.projection, drawn[0])
    assert torch.equal(layers.filled, drawn[1])
    assert torch.equal(layers.norm.weight, torch.ones(5))  # constants are set
    assert layers.linear.weight.shape == (4, 3)


def test_a_network_that_is_loaded_is_as_if_it_had_been_drawn():
    torch.manual_seed(1)
    wanted = torchvision.models.resnet18().eval()
    state = torch.get_rng_state()
    with SkipRandomWeights():
        found = torchvision.models.resnet18().eval()
        assert torch.equal(torch.get_rng_state(), state)  # not even the buffers of a ResNet are random
    found.load_state_dict(wanted.state_dict())
    images = torch.randn(1, 3, 32, 16)
    assert torch.equal(found(images), wanted(images))


def test_outside_all_is_drawn():
    with SkipRandomWeights():
        pass
    torch.manual_seed(2)
    first = nn.Linear(3, 4).weight
    torch.manual_seed(2)
    assert torch.equal(nn.Linear(3, 4).weight, first)
    assert first.abs().sum() > 0
