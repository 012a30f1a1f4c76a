"""Necks between the blocks and stages of a backbone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.types import INFRARED, VISIBLE, Context, FeatureSpec
from vireid.errors import Mismatch, UnknownName
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.backbones.two_stream_network import TwoStreamNetwork
from vireid.plugins.backbones.two_stream_resnet import TwoStreamResNet


class Twice(nn.Module):
    """Returns each row and its negative."""

    def __init__(self, inputs: Any) -> None:
        super().__init__()
        self.output = FeatureSpec(inputs[0].channels, 'map', size=inputs[0].size, copies=2)
        self.seen: list[Context] = []

    def forward(self, x: Tensor, context: Context) -> Tensor:
        self.seen.append(context)
        return torch.stack([x, -x], dim=1).flatten(0, 1)


class AddsInput(nn.Module):
    """Adds a learned map of the input of the stage to its output."""

    def __init__(self, inputs: Any) -> None:
        super().__init__()
        low, self.output = inputs
        self.layer = nn.Conv2d(low.channels, self.output.channels, 1, low.size[0] // self.output.size[0])

    def forward(self, low: Tensor, high: Tensor, context: Context) -> Tensor:
        return high + self.layer(low)


class Widens(nn.Module):
    def __init__(self, inputs: Any) -> None:
        super().__init__()
        self.output = FeatureSpec(2 * inputs[0].channels, 'map')

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return torch.cat([x, x], dim=1)


class ForTraining(nn.Module):
    train_only = True

    def __init__(self, inputs: Any) -> None:
        super().__init__()
        self.output = inputs[0]

    def forward(self, x: Tensor) -> Tensor:
        return x


IMAGES = {VISIBLE: torch.linspace(0, 9, 3 * 3 * 64 * 32).sin().view(3, 3, 64, 32), INFRARED: torch.ones(2, 3, 64, 32)}


def resnet(inserts: dict[str, Any], shared_from: int = 2, out_stages: Any = (1, 4), **given: Any) -> TwoStreamResNet:
    components = create_manager().components
    for part in (Twice, AddsInput, Widens, ForTraining):
        components.add('necks', part.__name__, part)
    torch.manual_seed(0)
    build_part = BuildPart(components, 'model.backbone', {})
    return TwoStreamResNet(
        18, shared_from, out_stages, weights=None, image_size=(64, 32), build_part=build_part, inserts=inserts, **given
    ).eval()


def test_copies_follow_downstream_with_the_rows_of_each_modality_together():
    plain, network = resnet({}), resnet({'stage3': {'type': 'Twice'}})
    assert network.outputs['stage1'] == FeatureSpec(64, 'map', 'paired', (16, 8))
    assert network.outputs['stage4'] == FeatureSpec(512, 'map', 'joint', (4, 2), copies=2)
    with torch.no_grad():
        found, wanted = network(IMAGES), plain(IMAGES)
        assert found['stage4'].shape[0] == 10
        # copy c of image b is row 2 b + c; copy 0 is the map without the insert
        assert torch.allclose(found['stage4'][::2], wanted['stage4'], atol=1e-6)
        assert not torch.allclose(found['stage4'][1::2], wanted['stage4'], atol=1e-3)
    (insert,) = [part for part in network.modules() if isinstance(part, Twice)]
    assert insert.seen == [Context({VISIBLE: 3, INFRARED: 2})]


def test_copies_before_the_streams_join():
    network = resnet({'twice': {'type': 'Twice', 'after': {'stage1': 1, 'stage2': 2}}}, shared_from=2)
    assert (network.outputs['stage1'].copies, network.outputs['stage4'].copies) == (2, 8)
    with torch.no_grad():
        found = network(IMAGES)
    assert {m: len(rows) for m, rows in found['stage1'].items()} == {VISIBLE: 6, INFRARED: 4}
    assert len(found['stage4']) == 8 * 5
    seen = [part.seen for part in network.modules() if isinstance(part, Twice)]
    assert sorted((tuple(c.counts.items()), c.copies) for (c,) in seen) == [
        (((INFRARED, 2),), 1),
        (((VISIBLE, 3),), 1),
        (((VISIBLE, 6), (INFRARED, 4)), 2),
        (((VISIBLE, 12), (INFRARED, 8)), 4),
    ]


def test_an_insert_may_read_the_input_of_its_stage_too():
    network = resnet({'mfa': {'type': 'AddsInput', 'after': {'stage1': 1, 'stage4': 1}, 'with_input': True}}, 1, (4,))
    shared = network.shared
    with torch.no_grad():
        stems = torch.cat([network.streams[m]['stage0'](IMAGES[m]) for m in (VISIBLE, INFRARED)])
        one = shared['stage1'][1](shared['stage1'][0](stems)) + shared['stage1'].mfa1.layer(stems)
        three = shared['stage3'](shared['stage2'](one))
        four = shared['stage4'][1](shared['stage4'][0](three)) + shared['stage4'].mfa1.layer(three)
        assert torch.allclose(network(IMAGES)['stage4'], four, atol=1e-6)


@pytest.mark.parametrize('network', ['mobilenet_v2', 'resnet18'])
def test_any_chain_of_modules_takes_inserts_at_the_end_of_a_stage(network):
    components = create_manager().components
    components.add('necks', 'Twice', Twice)
    build_part = BuildPart(components, 'model.backbone', {})
    torch.manual_seed(0)
    made = TwoStreamNetwork(
        network, shared_from=1, out_stages=(4,), weights=None, image_size=(64, 32), build_part=build_part,
        inserts={'stage2': {'type': 'Twice'}},
    )  # fmt: skip
    assert made.outputs['stage4'].copies == 2
    assert len(made.eval()(IMAGES)['stage4']) == 10


@pytest.mark.parametrize(
    ('inserts', 'kind', 'fact'),
    [
        ({'stage5': {'type': 'Twice'}}, UnknownName, "'stage5'"),
        ({'dee': {'type': 'Twice'}}, UnknownName, "'dee'"),
        ({'stage3': {'type': 'Widens'}}, Mismatch, 'Widens .* 256 .* 4 x 2 .* 512 '),
        ({'stage3': {'type': 'ForTraining'}}, Mismatch, 'ForTraining'),
    ],
)
def test_an_insert_that_does_not_fit_is_refused(inserts, kind, fact):
    with pytest.raises(kind, match=fact) as caught:
        resnet(inserts)
    assert caught.value.path == f'model.backbone.inserts.{next(iter(inserts))}'


def test_one_that_reads_fewer_rows_than_it_follows_is_refused():
    inserts = {
        'a': {'type': 'Twice', 'after': 'stage3'},
        'b': {'type': 'AddsInput', 'after': 'stage3', 'with_input': True},
    }
    resnet({'b': inserts['b']})
    with pytest.raises(Mismatch, match='stage3') as caught:
        resnet(inserts)
    assert caught.value.path == 'model.backbone.inserts.b'


def test_a_stage_that_is_not_built_is_refused():
    with pytest.raises(UnknownName, match=r"'stage4'.*out_stages") as caught:
        resnet({'stage4': {'type': 'Twice'}}, out_stages=(2,))
    assert caught.value.path == 'model.backbone.inserts.stage4'


def test_none_removes_an_insert():
    assert resnet({'stage3': None}).outputs['stage4'].copies == 1
