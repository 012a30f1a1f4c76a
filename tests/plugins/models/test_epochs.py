"""`epochs` and `progress`: parts that are used only in some epochs, and parts that are told the position in the run."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vireid.core.types import INFRARED, VISIBLE, Batch, Context, FeatureSpec, HeadOutput, Progress
from vireid.errors import Conflict, Mismatch, VireidError, WrongValue
from vireid.plugin_manager.manager import create_manager


class Means(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.outputs = {'mean': FeatureSpec(3)}

    def forward(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
        return {'mean': torch.cat([x.mean((2, 3)) for x in images.values()]) * self.scale}


class Scale(nn.Module):
    """A neck that divides by the number of epochs done."""

    def __init__(self, inputs: Any) -> None:
        super().__init__()
        (self.output,) = inputs

    def forward(self, x: Tensor, context: Context, progress: Progress | None) -> Tensor:
        return x if progress is None else x / (1 + progress.epoch)


class NaN(nn.Module):
    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        return output.feature.sum() * float('nan')


class Step(nn.Module):
    def forward(self, output: HeadOutput, identities: Tensor, progress: Progress) -> Tensor:
        return output.feature.sum() * 0 + progress.step


class Double(nn.Module):
    """A translator that doubles all images."""

    def __init__(self, modalities: dict[str, int]) -> None:
        super().__init__()
        self.modalities = modalities

    def forward(self, batch: Batch) -> Batch:
        return Batch(**{**vars(batch), 'images': {m: 2 * x for m, x in batch.images.items()}})


CONFIG: dict[str, Any] = {
    'translators': {'doubled': {'type': 'Double', 'epochs': (1, 3)}},
    'backbone': {'type': 'Means'},
    'necks': {'scaled': {'type': 'Scale', 'inputs': 'mean'}},
    'heads': {
        'scaled': {
            'type': 'GlobalHead',
            'losses': {
                'id': {'type': 'CrossEntropy', 'epochs': (0, 2)},
                'bad': {'type': 'NaN', 'epochs': (5, None), 'task': 'bad'},
                'step': {'type': 'Step', 'task': 'step'},
            },
        }
    },
    'weighter': {'type': 'HomoscedasticUncertainty', 'start': 0},
    'embedding': 'scaled',
}


def build(change: Any = None, **given: Any) -> Any:
    components = create_manager().components
    components.add('backbones', 'Means', Means)
    components.add('necks', 'Scale', Scale)
    components.add('translators', 'Double', Double)
    components.add('losses', 'NaN', NaN)
    components.add('losses', 'Step', Step)
    config = copy.deepcopy(CONFIG)
    if change is not None:
        change(config)
    torch.manual_seed(0)
    return components.build(
        'models', {'type': 'CrossModalModel', **config}, where='model', num_identities=6, **given
    )  # fmt: skip


def batch(step: int | None) -> Batch:
    images = {m: torch.ones(2, 3, 4, 2) for m in (VISIBLE, INFRARED)}
    progress = None if step is None else Progress(step // 10, step, 10, 100)
    return Batch(images, {m: torch.tensor([0, 1]) for m in images}, progress=progress)


@pytest.mark.parametrize(
    ('step', 'tasks'),
    [(0, {'scaled', 'step'}), (19, {'scaled', 'step'}), (20, {'step'}), (49, {'step'}), (50, {'step', 'bad'})],
)
def test_a_loss_outside_its_epochs_is_not_computed(step, tasks):
    model = build()
    losses = model(batch(step))
    assert set(losses) == tasks
    assert losses['step'] == step
    total, weights = model.weighter(losses, batch(step).progress)
    assert set(weights) == tasks  # a weighter weighs what there is
    assert torch.isfinite(total) == ('bad' not in tasks)  # a loss of weight 0 would make the total NaN


def test_a_translator_runs_only_in_its_epochs_and_never_when_images_are_embedded():
    model = build()
    seen = []
    model.backbone.register_forward_hook(lambda module, args, out: seen.append(float(args[0][VISIBLE].max())))
    for step in (0, 10, 29, 30):
        model(batch(step))
    model.eval().embed(torch.ones(1, 3, 4, 2), VISIBLE)
    assert seen == [1, 2, 2, 1, 1]


def test_a_neck_that_names_progress_is_told_it_and_none_when_images_are_embedded():
    model, seen = build(), []
    model.necks['scaled'].register_forward_hook(lambda module, args, out: seen.append(float(out.detach().max())))
    for step in (0, 10, 30):
        model(batch(step))
    model.eval().embed(torch.ones(1, 3, 4, 2), VISIBLE)
    assert seen == [1, 1, 0.25, 1]  # in epoch 1 the images are doubled


def test_a_step_without_any_loss_is_an_error():
    def change(config: dict[str, Any]) -> None:
        config['heads']['scaled']['losses'] = {'id': {'type': 'CrossEntropy', 'epochs': (0, 2)}}

    with pytest.raises(Mismatch, match='epoch 2'):
        build(change)(batch(20))


@pytest.mark.parametrize(('epochs', 'facts'), [((3, 3), r'\(3, 3\)'), ((10, None), 'epoch 10, .* epoch 9 ')])
def test_epochs_that_never_come_are_refused(epochs, facts):
    def change(config: dict[str, Any]) -> None:
        config['heads']['scaled']['losses']['id']['epochs'] = epochs

    for training in ({'epochs': 10, 'steps': None}, {'epochs': None, 'steps': 46}):  # 46 steps end in the tenth epoch
        with pytest.raises(VireidError, match=facts) as caught:
            build(change, training=SimpleNamespace(**training), steps_per_epoch=5)
        assert caught.value.path == 'model.heads.scaled.losses.id.epochs'


def test_a_translator_that_the_backbone_depends_on_cannot_be_switched():
    def change(config: dict[str, Any]) -> None:
        config['translators'] = {'pad': {'type': 'ZeroPadding', 'epochs': (0, 2)}}

    with pytest.raises(Conflict, match='visible, infrared') as caught:
        build(change)
    assert caught.value.path == 'model.translators.pad.epochs'


def test_a_name_that_torch_uses_itself_is_refused():
    def change(config: dict[str, Any]) -> None:
        config['translators'] = {'double': {'type': 'Double'}}

    with pytest.raises(WrongValue, match="'double'") as caught:
        build(change)
    assert caught.value.path == 'model.translators'


def test_the_epochs_in_which_something_changes():
    assert build().changes == [1, 2, 3, 5]
