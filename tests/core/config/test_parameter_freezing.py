"""Frozen parameters get no gradient, frozen modules stay in evaluation mode."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torchvision
from torch import nn

from vireid.core.config.parameter_freezing import freeze
from vireid.errors import NoMatch, VireidError
from vireid.runtime.batch_norm import synchronize_norms


def network() -> nn.Module:
    made = nn.Sequential()
    made.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    made.head = nn.Sequential(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))
    return made


def trainable(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.requires_grad}


def test_a_frozen_part_is_left_as_it_is_by_training():
    made = network()
    freeze(made, ['body.*'])
    assert trainable(made) == {'head.0.weight', 'head.0.bias', 'head.1.weight', 'head.1.bias'}
    made.train()
    assert [m.training for m in made.body] == [False, False, False]
    assert made.head[1].training
    before = copy.deepcopy(made.state_dict())
    made(torch.randn(8, 3, 2, 2))
    moved = {name for name, value in made.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {'head.1.running_mean', 'head.1.running_var', 'head.1.num_batches_tracked'}


def test_a_pattern_of_statistics_freezes_them_and_trains_the_rest():
    made = network()
    freeze(made, ['*.running_*'])
    made.train()
    assert len(trainable(made)) == 8
    assert not made.body[1].training
    assert not made.head[1].training
    assert made.body[2].training


def test_a_pattern_of_parameters_leaves_statistics_moving():
    made = network()
    freeze(made, ['*.bias'])
    made.train()
    assert trainable(made) == {'body.0.weight', 'body.1.weight', 'head.0.weight', 'head.1.weight'}
    assert made.body[1].training


def test_a_pattern_may_name_a_class():
    made = network()
    freeze(made, ['*:BatchNorm*'])
    made.train()
    assert trainable(made) == {'body.0.weight', 'body.0.bias', 'head.0.weight', 'head.0.bias'}
    assert (made.body[1].training, made.head[1].training, made.body[2].training) == (False, False, True)
    other = network()
    freeze(other, ['body.*:*Norm*'])
    assert other.train().head[1].training
    with pytest.raises(NoMatch, match=r"'head\.\*:Dropout'"):
        freeze(network(), ['head.*:Dropout'])


def test_a_class_is_what_a_module_is_not_what_is_inside_it():
    # torchvision calls a convolution with its normalization Conv2dNormActivation
    made = nn.Sequential()
    made.backbone = torchvision.models.shufflenet_v2_x0_5()
    made.block = torchvision.ops.Conv2dNormActivation(3, 4)
    freeze(made, ['*:*Norm*'])
    frozen = {p.ndim for p in made.parameters() if not p.requires_grad}
    assert frozen == {1}
    assert all(not m.training for m in made.train().modules() if isinstance(m, nn.BatchNorm2d))
    assert made.block.training
    assert made.block[0].weight.requires_grad


def test_a_copy_stays_frozen():
    made = network()
    freeze(made, ['body.*'])
    twin = copy.deepcopy(made).train()
    assert not twin.body[1].training
    assert twin.head[1].training


def test_patterns_that_match_nothing_are_told_each_with_its_place():
    with pytest.raises(VireidError) as caught:
        freeze(network(), ['boddy.*', 'head.*', 'x'])
    first, second = caught.value.errors
    for error, place, pattern in ((first, 'training.freeze.0', "'boddy.*'"), (second, 'training.freeze.2', "'x'")):
        assert isinstance(error, NoMatch)
        assert place in error.given
        assert pattern in error.given
    assert "'body.*', 'head.*'" in first.allowed


def test_a_module_that_is_named_is_frozen_as_a_whole():
    made = network()
    freeze(made, ['body'])
    assert trainable(made) == {'head.0.weight', 'head.0.bias', 'head.1.weight', 'head.1.bias'}
    assert [m.training for m in made.train().body] == [False, False, False]


def test_it_can_be_pickled_and_its_norms_are_not_synchronized():
    made = network()
    freeze(made, ['body.*'])
    twin = pickle.loads(pickle.dumps(made)).train()
    assert not twin.body[1].training
    synchronize_norms(made)
    assert type(made.body[1]) is nn.BatchNorm2d
    assert type(made.head[1]) is not nn.BatchNorm2d
