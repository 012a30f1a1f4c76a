"""`check_plugin` passes what keeps its promises - every built-in component - and names what does not."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import vireid.plugins
from vireid.core.errors import VireidError
from vireid.core.plugins import hookimpl
from vireid.core.types import FeatureSpec, HeadOutput
from vireid.testing import CHECKS, check_plugin

NEEDED = {
    'TwoStreamResNet': {'depth': 18, 'weights': None},
    'WarmUp': {'tasks': {'second': 'linear'}},
    'Composed': {
        'parts': {
            'all': {'type': 'Fixed', 'tasks': {'first': 1.0, 'second': 0.5}},
        }
    },
    'ResizeScaled': {'scale': 1.1},
    'GaussianBlur': {'kernel_size': 3},
    'Normalize': {'mean': [0.5] * 3, 'std': [0.5] * 3},
    'Pad': {'padding': 2},
    'RandomAffine': {'degrees': 10},
    'RandomCrop': {'pad_if_needed': True},
}


def test_every_builtin_component_keeps_its_promises():
    done = check_plugin(vireid.plugins, NEEDED, name='builtin')
    assert {key.split()[0] for key, found in done.items() if found == 'checked'} == set(CHECKS)
    assert done['necks MLFM'] == 'checked'
    assert done['datasets SYSU-MM01'] == 'looked up'


class Good(nn.Module):
    """A neck that keeps every promise; the bad ones below break one each."""

    def __init__(self, inputs: Any) -> None:
        super().__init__()
        self.output = inputs[0]
        self.share = nn.Parameter(torch.full((len(inputs),), 1 / len(inputs)))

    def forward(self, *features: Any, context: Any) -> Any:
        return sum(share * feature for share, feature in zip(self.share, features, strict=True))


class WrongChannels(Good):
    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.output = FeatureSpec(99, inputs[0].kind, size=inputs[0].size)


class WrongKind(Good):
    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.output = FeatureSpec(inputs[0].channels, 'map' if inputs[0].kind == 'vector' else 'vector')


class WrongSize(Good):
    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.output = FeatureSpec(inputs[0].channels, inputs[0].kind, size=(2, 2) if inputs[0].size else None)


class NoSpec(Good):
    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.output = inputs[0].channels


class Half(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        return super().forward(*features, context=context).half()


class Infinite(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        return super().forward(*features, context=context) / 0


class Detached(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        return super().forward(*features, context=context).detach()


class Unused(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        return features[0] * 1


class AlwaysDropout(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        return nn.functional.dropout(super().forward(*features, context=context), 0.5, training=True)


class Draws(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        random.random()
        return super().forward(*features, context=context)


class DrawsNumpy(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        np.random.rand()
        return super().forward(*features, context=context)


class HoldsAFunction(Good):
    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.scale = lambda x: x


class ForgetsState(Good):
    def __init__(self, inputs: Any) -> None:
        super().__init__(inputs)
        self.hidden = [torch.zeros(1)]

    def forward(self, *features: Any, context: Any) -> Any:
        if self.training:
            self.hidden[0] = self.hidden[0] + 1
        return super().forward(*features, context=context) + self.hidden[0]


class NeedsLabels(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        return super().forward(*features, context=context) + context.identities.sum()


class TakesNothing(Good):
    def __init__(self, inputs: Any) -> None:
        raise VireidError('I take no input')


class HalvesOneModality(Good):
    def forward(self, *features: Any, context: Any) -> Any:
        found = super().forward(*features, context=context)
        return found if len(context.counts) == 2 else found[: len(found) // 2]


class NoModule:
    def __init__(self, inputs: Any) -> None:
        self.output = inputs[0]

    def __call__(self, *features: Any, context: Any) -> Any:
        return features[0]


def plugin(*entries: tuple[str, str, Any]) -> Any:
    @hookimpl
    def register_components(add: Any) -> None:
        for entry in entries:
            add(*entry)

    return SimpleNamespace(register_components=register_components)


def test_a_good_neck_passes():
    assert check_plugin(plugin(('necks', 'Good', Good))) == {'necks Good': 'checked'}


@pytest.mark.parametrize(
    ('neck', 'said'),
    [
        (WrongChannels, 'declares 99 channels for 16 pictures'),
        (WrongKind, 'declares a map and makes (16, 16)'),
        (WrongSize, 'declares a map of (2, 2) and makes (16, 16, 6, 3)'),
        (NoSpec, 'and not a FeatureSpec'),
        (Half, 'torch.float16 and not float32'),
        (Infinite, 'not finite'),
        (Detached, 'no gradient goes through it'),
        (Unused, 'none of its parameters gets a gradient'),
        (AlwaysDropout, 'reads or moves global random numbers'),
        (Draws, 'reads or moves global random numbers'),
        (DrawsNumpy, 'reads or moves global random numbers'),
        (HoldsAFunction, 'pickle'),
        (ForgetsState, 'another instance with its state dict gives another output'),
        (NeedsLabels, "'NoneType' object has no attribute 'sum'"),
        (TakesNothing, 'I take no input'),
        (HalvesOneModality, '8 pictures of one modality become 4'),
        (NoModule, 'not a torch.nn.Module'),
    ],
)
def test_a_broken_promise_is_named(neck: type, said: str):
    with pytest.raises(VireidError) as caught:
        check_plugin(plugin(('necks', 'Bad', neck)))
    assert "necks 'Bad'" in str(caught.value)
    assert said in str(caught.value)


def test_all_broken_promises_are_named_at_once():
    with pytest.raises(VireidError) as caught:
        check_plugin(plugin(('necks', 'A', Half), ('necks', 'B', Good), ('necks', 'C', Infinite)))
    assert "necks 'A'" in str(caught.value)
    assert "necks 'C'" in str(caught.value)
    assert "necks 'B'" not in str(caught.value)


class FlatLogits(nn.Module):
    """A head whose logits are of another number of persons."""

    def __init__(self, inputs: Any, num_identities: int) -> None:
        super().__init__()
        self.embedding_dim = inputs[0].channels
        self.classifier = nn.Linear(self.embedding_dim, num_identities + 1)

    def forward(self, feature: Any) -> HeadOutput:
        return HeadOutput(feature, self.classifier(feature))

    def embed(self, feature: Any) -> Any:
        return feature[:, :-1]


class TimeCrop:
    """A transform whose chance is of its own."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image: Any) -> Any:
        self.calls += 1
        return image[:, self.calls :]


class SameBatches:
    def __init__(self, samples: Any, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return 1

    def batches(self, epoch: int) -> list[list[int]]:
        return [list(range(len(self.samples)))]


class Vector:
    name = 'vector'

    def similarity(self, query: Any, gallery: Any) -> Any:
        return lambda rows: query[rows].sum(axis=1)


@pytest.mark.parametrize(
    ('kind', 'target', 'said'),
    [
        ('heads', FlatLogits, "its output 'global' has logits (16, 5), not (16, 4)"),
        ('transforms', TimeCrop, 'the same seed gives another picture'),
        ('samplers', SameBatches, 'every epoch has the same batches'),
        ('rerankers', Vector, 'similarities are (7,)'),
    ],
)
def test_other_kinds_too(kind: str, target: type, said: str):
    with pytest.raises(VireidError) as caught:
        check_plugin(plugin((kind, 'Bad', target)))
    assert said in str(caught.value)


def test_settings_may_be_given():
    with pytest.raises(VireidError, match="needs the argument 'tasks'"):
        check_plugin(plugin(('weighters', 'Mine', 'vireid.plugins.weighters.warm_up:WarmUp')))
    found = check_plugin(
        plugin(('weighters', 'Mine', 'vireid.plugins.weighters.warm_up:WarmUp')),
        {'Mine': {'tasks': {'first': 'linear'}}},
    )
    assert found == {'weighters Mine': 'checked'}


def test_a_plugin_without_components_is_refused():
    with pytest.raises(VireidError, match='registers no component'):
        check_plugin(plugin())
