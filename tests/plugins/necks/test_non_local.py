"""NonLocal against its definition, cell by cell, and as an insert in the stages of a ResNet."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision

from vireid.core.registry.components import BuildPart
from vireid.core.types import INFRARED, VISIBLE, FeatureSpec
from vireid.errors import WrongValue
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.backbones.two_stream_resnet import TwoStreamResNet
from vireid.plugins.necks.non_local import NonLocal

IMAGES = {m: torch.linspace(0, n, 2 * 3 * 32 * 16).sin().view(2, 3, 32, 16) for m, n in ((VISIBLE, 99), (INFRARED, 70))}


def non_local(channels: int, inner: int | None = None) -> NonLocal:
    return NonLocal((FeatureSpec(channels, 'map'),), inner)


def resnet(depth: int, counts: dict[str, int] | None, channels: int | None = None, **settings: Any) -> TwoStreamResNet:
    """A ResNet with non-local blocks after the last `counts` blocks of each stage."""
    inserts = {'non_local': {'type': 'NonLocal', 'after': counts, 'channels': channels}} if counts else None
    build_part = BuildPart(create_manager().components, 'model.backbone', {})
    return TwoStreamResNet(depth, weights=None, build_part=build_part, inserts=inserts, **settings)


AGW = {'stage2': 2, 'stage3': 3}


def block(channels: int, inner: int | None = None) -> NonLocal:
    """A block in float64 whose BatchNorm is not zero."""
    made = non_local(channels, inner).double()
    with torch.no_grad():
        made.norm.weight.uniform_(0.5, 1.5)
        made.norm.bias.uniform_(-0.5, 0.5)
    return made


def literal(made: NonLocal, cells: torch.Tensor) -> torch.Tensor:
    """z_i = x_i + BN(W 1/N sum_j (theta(x_i) . phi(x_j)) g(x_j)), with the statistics of the batch."""

    def linear(part: torch.nn.Conv2d, cell: torch.Tensor) -> torch.Tensor:
        product = part.weight[:, :, 0, 0] @ cell
        return product if part.bias is None else product + part.bias

    images, channels, height, width = cells.shape
    places = [(row, column) for row in range(height) for column in range(width)]
    before = {}
    for b in range(images):
        for i in places:
            y = torch.zeros(made.g.out_channels, dtype=cells.dtype)
            for j in places:
                theta, phi = linear(made.theta, cells[b, :, *i]), linear(made.phi, cells[b, :, *j])
                weight = sum(theta[k] * phi[k] for k in range(len(theta)))
                y = y + weight * linear(made.g, cells[b, :, *j]) / len(places)
            before[b, *i] = linear(made.W, y)
    z = []
    for b in range(images):
        for c in range(channels):
            values = torch.stack([vector[c] for vector in before.values()])
            mean = values.sum() / len(values)
            spread = ((values - mean) ** 2).sum() / len(values)
            for i in places:
                normal = (before[b, *i][c] - mean) / (spread + made.norm.eps).sqrt()
                z.append(cells[b, c, *i] + made.norm.weight[c] * normal + made.norm.bias[c])
    return torch.stack(z).reshape(cells.shape)


@pytest.mark.parametrize('inner', [1, 2, 6])
def test_equals_the_literal_loop_with_gradients(inner):
    torch.manual_seed(inner)
    made = block(6, inner)
    cells = torch.randn(2, 6, 3, 2, dtype=torch.float64, requires_grad=True)
    output, expected = made(cells, None), literal(made, cells)
    assert torch.allclose(output, expected, rtol=0, atol=1e-10)
    direction = torch.randn_like(cells)
    leaves = [cells, *made.parameters()]
    gradients = torch.autograd.grad((output * direction).sum(), leaves)
    literal_gradients = torch.autograd.grad((expected * direction).sum(), leaves)
    for found, wanted in zip(gradients, literal_gradients, strict=True):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_two_cells_by_hand():
    made = non_local(2).eval()  # one channel inside
    with torch.no_grad():
        for part, weights in ((made.theta, [1, 0]), (made.phi, [0, 1]), (made.g, [1, 1])):
            part.weight.copy_(torch.tensor(weights).view(1, 2, 1, 1))
            part.bias.zero_()
        made.W.weight.copy_(torch.tensor([1.0, 10.0]).view(2, 1, 1, 1))
        made.norm.weight.fill_((1 + made.norm.eps) ** 0.5)  # with running variance 1, the BatchNorm is the identity
    # cells (1, 2) and (3, 4): theta 1, 3; phi 2, 4; g 3, 7; y_1 = (1*2*3 + 1*4*7) / 2 = 17, y_2 = 3 * 17 = 51
    cells = torch.tensor([[1.0, 3.0], [2.0, 4.0]]).view(1, 2, 1, 2)
    assert made(cells, None).flatten().tolist() == pytest.approx([1 + 17, 3 + 51, 2 + 170, 4 + 510], rel=1e-6)


def test_a_new_block_is_the_identity():
    torch.manual_seed(0)
    cells = torch.randn(2, 8, 4, 3)
    assert torch.equal(non_local(8)(cells, None), cells)
    assert torch.equal(non_local(8).eval()(cells, None), cells)


def test_images_do_not_see_each_other():
    torch.manual_seed(0)
    made = block(4).eval()
    cells = torch.randn(3, 4, 2, 2, dtype=torch.float64)
    assert torch.allclose(made(cells, None)[1:2], made(cells[1:2], None), atol=1e-12)


def test_many_cells_of_one_value_do_not_overflow_in_half_precision():
    made = non_local(2)
    with torch.no_grad():
        for part in (made.theta, made.phi, made.g):
            part.weight.fill_(0.5)
            part.bias.zero_()
        made.W.weight.fill_(1)
    made = made.eval().to(torch.float16)
    made.norm.weight.data.fill_(1)
    # theta, phi and g are 10: the sum of phi g over the cells is 204,800, their mean 100, y = 1,000
    assert made(torch.full((1, 2, 64, 32), 10.0, dtype=torch.float16), None).flatten()[0].item() == pytest.approx(
        1010, rel=2e-3
    )


def test_its_parameters_by_hand():
    # theta, phi, g: 4 weights and a bias for each of 2 channels; W: 2 weights for each of 4; BatchNorm: 2 for each of 4
    assert sum(p.numel() for p in non_local(4).parameters()) == 3 * (4 * 2 + 2) + 2 * 4 + 2 * 4 == 46
    assert non_local(7).theta.out_channels == 3
    # one channel inside, as in the released AGW
    assert sum(p.numel() for p in non_local(4, 1).parameters()) == 3 * (4 + 1) + 4 + 2 * 4 == 27


@pytest.mark.parametrize('inner', [0, 5])
def test_channels_that_are_none_or_too_many_are_refused(inner):
    with pytest.raises(WrongValue, match=rf'channels is {inner}\n  allowed: 1 to 4\b'):
        non_local(4, inner)


def non_local_names(network: TwoStreamResNet) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, NonLocal)]


def test_resnet_50_gets_agws_five_blocks_and_their_parameters():
    with torch.device('meta'):
        network = resnet(50, AGW, shared_from=1)
        without = resnet(50, None, shared_from=1)
    assert non_local_names(network) == [
        *('shared.stage2.non_local2', 'shared.stage2.non_local3'),
        *('shared.stage3.non_local3', 'shared.stage3.non_local4', 'shared.stage3.non_local5'),
    ]
    # with C channels, theta, phi and g have C * C/2 weights and C/2 biases, W has C * C/2 weights, the BatchNorm 2 C
    by_hand = sum(3 * (c * c // 2 + c // 2) + c * c // 2 + 2 * c for c in (512, 512, 1024, 1024, 1024))
    added = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in without.parameters())
    assert added == by_hand == 7_354_368
    with torch.device('meta'):
        released = resnet(50, AGW, 1, shared_from=1)
    fewer = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in released.parameters())
    assert added - fewer == sum(3 * (c + 1) + c + 2 * c for c in (512, 512, 1024, 1024, 1024)) == 24_591


def test_their_channels_are_a_setting_and_half_of_the_maps_by_default():
    def channels(inner: int | None) -> list[int]:
        with torch.device('meta'):
            network = resnet(18, {'stage2': 1, 'stage3': 1}, inner)
        return [module.g.out_channels for module in network.modules() if isinstance(module, NonLocal)]

    assert channels(None) == [64, 128]  # with 128 and 256 channels
    assert channels(1) == [1, 1]


def test_a_stage_with_fewer_residual_blocks_gets_one_behind_each():
    with torch.device('meta'):
        network = resnet(18, AGW, shared_from=1)
    assert non_local_names(network) == [f'shared.stage{s}.non_local{i}' for s in (2, 3) for i in (0, 1)]


def test_unshared_stages_have_blocks_of_their_own():
    with torch.device('meta'):
        network = resnet(18, {'stage2': 1}, shared_from=3, out_stages=(2,))
    assert non_local_names(network) == [f'streams.{m}.stage2.non_local1' for m in (VISIBLE, INFRARED)]


@pytest.mark.parametrize('shared_from', [1, 5])
def test_they_leave_the_resnets_weights_and_at_first_its_maps_as_they_are(shared_from):
    networks = []
    for counts in (None, {'stage1': 1, 'stage2': 2, 'stage3': 3, 'stage4': 1}):
        torch.manual_seed(3)
        networks.append(resnet(18, counts, shared_from=shared_from))
    plain, with_blocks = networks
    state = with_blocks.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())
    found, wanted = with_blocks(IMAGES)['stage4'], plain(IMAGES)['stage4']
    pairs = [(found, wanted)] if shared_from < 5 else [(found[m], wanted[m]) for m in wanted]
    assert all(torch.equal(one, other) for one, other in pairs)


def test_without_them_random_weights_are_torchvisions_own():
    torch.manual_seed(3)
    network = TwoStreamResNet(18, shared_from=5, weights=None)
    torch.manual_seed(3)
    for stream in (VISIBLE, INFRARED):
        plain = torchvision.models.resnet18()
        assert torch.equal(network.streams[stream]['stage0'][0].weight, plain.conv1.weight)
        assert torch.equal(network.streams[stream]['stage3'][1].conv2.weight, plain.layer3[1].conv2.weight)


def test_they_learn():
    torch.manual_seed(0)
    network = resnet(18, {'stage2': 1}, shared_from=1, out_stages=(2,))
    made = network.shared['stage2'].non_local1
    torch.nn.init.ones_(made.norm.weight)
    images = {m: torch.randn(2, 3, 32, 16) for m in (VISIBLE, INFRARED)}
    network(images)['stage2'].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in (made.theta.weight, made.W.weight, made.g.weight))
