"""Heads that read images, and turns of optimizers that run only what they need: a small adversarial translation."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from vireid.core.types import INFRARED, VISIBLE, Batch, FeatureSpec, HeadOutput, Progress
from vireid.errors import Conflict, Mismatch, UnknownName
from vireid.plugin_manager.manager import create_manager

CALLS: list[str] = []


class Shift(nn.Module):
    """Translates visible images by a learned shift, which replaces them; adds `fake` and `cycle` maps."""

    def __init__(self, modalities: dict[str, int], image_size: Any = None) -> None:
        super().__init__()
        self.modalities = modalities
        spec = FeatureSpec(3, 'map', 'paired')
        self.maps = {'fake': spec, 'cycle': spec}
        self.shift, self.norm = nn.Parameter(torch.zeros(())), nn.BatchNorm2d(3)

    def forward(self, batch: Batch, needed: Any = ()) -> Batch:
        CALLS.append('translator' + ('+cycle' if 'cycle' in needed else ''))
        if VISIBLE not in batch.images:
            return batch
        fake = self.norm(batch.images[VISIBLE]) + self.shift
        maps = {'fake': {VISIBLE: fake}}
        if 'cycle' in needed:
            maps['cycle'] = {VISIBLE: fake - self.shift}
        return replace(batch, images={**batch.images, VISIBLE: fake}, maps={**batch.maps, **maps})


class Means(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.norm = nn.Parameter(torch.ones(())), nn.BatchNorm2d(3)
        self.outputs = {'mean': FeatureSpec(3)}

    def forward(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
        CALLS.append('backbone')
        return {'mean': torch.cat([self.norm(x).mean((2, 3)) for x in images.values()]) * self.scale}


class Critic(nn.Module):
    """Tells infrared images from translated visible ones."""

    train_only, layout = True, 'paired'
    outputs = {'real': 0, 'fake': 0}  # noqa: RUF012

    def __init__(self, inputs: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, images: dict[str, Tensor], fake: dict[str, Tensor]) -> dict[str, HeadOutput]:
        CALLS.append('critic')
        return {
            'real': HeadOutput(self.layer(images[INFRARED].mean((2, 3)))),
            'fake': HeadOutput(self.layer(fake[VISIBLE].mean((2, 3)))),
        }


class Difference(nn.Module):
    train_only, layout = True, 'paired'

    def __init__(self, inputs: Any) -> None:
        super().__init__()

    def forward(self, images: dict[str, Tensor], cycle: dict[str, Tensor]) -> HeadOutput:
        return HeadOutput((images[VISIBLE] - cycle[VISIBLE]).flatten(1))


class Target(nn.Module):
    """The mean square distance of the feature to a number."""

    def __init__(self, to: float) -> None:
        super().__init__()
        self.to_ = to

    def forward(self, output: HeadOutput, identities: Tensor) -> Tensor:
        return (output.feature - self.to_).square().mean()


CONFIG: dict[str, Any] = {
    'translators': {'shift': {'type': 'Shift'}},
    'backbone': {'type': 'Means'},
    'heads': {
        'mean': {'type': 'GlobalHead', 'bnneck': False, 'losses': {'id': {'type': 'CrossEntropy'}}},
        'critic': {
            'type': 'Critic',
            'inputs': ('images', 'fake'),
            'losses': {
                'real': {'type': 'Target', 'to': 1.0, 'reads': 'real'},
                'fake': {'type': 'Target', 'to': 0.0, 'reads': 'fake'},
                'fool': {'type': 'Target', 'to': 1.0, 'reads': 'fake', 'task': 'fool'},
            },
        },
        'cycle': {
            'type': 'Difference',
            'inputs': ('images', 'cycle'),
            'losses': {'l2': {'type': 'Target', 'to': 0.0, 'task': 'fool', 'weight': 0.5}},
        },
    },
    'weighter': {'type': 'Fixed'},
    'embedding': 'mean',
}
SGD = {'type': 'SGD', 'lr': 0.1}
OPTIMIZERS: dict[str, Any] = {
    'network': {'parameters': ['backbone.*', 'tasks.mean.*'], 'tasks': ['mean'], 'optimizer': SGD},
    'generator': {'parameters': ['translators.*'], 'tasks': ['fool'], 'optimizer': SGD},
    'critic': {'parameters': ['tasks.critic.*'], 'tasks': ['critic'], 'optimizer': SGD},
}  # fmt: skip


def build(change: Any = None) -> Any:
    manager = create_manager()
    for kind, part in (('translators', Shift), ('backbones', Means), ('heads', Critic), ('heads', Difference)):
        manager.components.add(kind, part.__name__, part)
    manager.components.add('losses', 'Target', Target)
    config = copy.deepcopy(CONFIG)
    if change is not None:
        change(config)
    torch.manual_seed(0)
    CALLS.clear()
    model = manager.components.build('models', {'type': 'CrossModalModel', **config}, where='model', num_identities=6)
    return model, manager.components


def batch(identities: int = 3) -> Batch:
    torch.manual_seed(1)
    images = {VISIBLE: torch.randn(2 * identities, 3, 4, 2), INFRARED: torch.randn(2 * identities, 3, 4, 2)}
    return Batch(images, dict.fromkeys(images, torch.arange(identities).repeat_interleave(2)))


def step_of(model: Any, components: Any, **settings: Any) -> Any:
    config = {'type': 'MultipleOptimizers', 'optimizers': copy.deepcopy(OPTIMIZERS), **settings}
    fabric = Fabric(accelerator='cpu', devices=1)
    return components.build('steps', config, where='step', model=model, fabric=fabric, components=components)


def test_every_task_is_computed_by_default():
    model, _ = build()
    losses = model(batch())
    assert list(losses) == ['mean', 'critic', 'fool']
    images, fake = batch().images, torch.nn.functional.batch_norm(batch().images[VISIBLE], None, None, training=True)
    critic = model.tasks['critic'].head.layer
    told = critic(fake.mean((2, 3)))
    wanted = (critic(images[INFRARED].mean((2, 3))) - 1).square().mean() + told.square().mean()
    assert torch.allclose(losses['critic'], wanted, atol=1e-5)
    cycle = (images[VISIBLE] - fake).square().mean() / 2
    assert torch.allclose(losses['fool'], (told - 1).square().mean() + cycle, atol=1e-5)


@pytest.mark.parametrize(
    ('tasks', 'calls'),
    [
        ({'mean'}, ['translator', 'backbone']),
        ({'critic'}, ['translator', 'critic']),
        ({'fool'}, ['translator+cycle', 'critic']),
        ({'mean', 'fool'}, ['translator+cycle', 'backbone', 'critic']),
    ],
)
def test_only_what_the_tasks_need_is_run(tasks, calls):
    model, _ = build()
    whole = model(batch())
    CALLS.clear()
    losses = model(batch(), tasks=tasks)
    assert calls == CALLS
    assert set(losses) == tasks
    assert all(torch.allclose(loss, whole[name]) for name, loss in losses.items())


def test_each_turn_moves_its_parameters_and_buffers_and_no_others():
    model, components = build()
    step = step_of(model, components, order=['network', 'generator', 'critic'])
    moved = []
    for number in range(3):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        record = step(batch(), Progress(0, number, 3, 3))
        after = model.state_dict()
        changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
        moved.append((record['turn'], {'.'.join(name.split('.')[:2]) for name in changed}, set(record['tasks'])))
    assert moved == [
        ('network', {'backbone.scale', 'backbone.norm', 'tasks.mean'}, {'mean'}),
        ('generator', {'translators.shift'}, {'fool'}),
        ('critic', {'tasks.critic'}, {'critic'}),
    ]


def test_all_turns_on_one_batch_are_the_turns_one_after_the_other():
    alone, together = build(), build()
    one, all_ = (
        step_of(*built, order=list(OPTIMIZERS), all_turns=turns) for built, turns in ((alone, False), (together, True))
    )
    for number in range(2):
        records = [one(batch(), Progress(0, 3 * number + turn, 6, 6)) for turn in range(3)]
        record = all_(batch(), Progress(0, number, 2, 2))
        assert record['loss'] == pytest.approx(sum(own['loss'] for own in records))
        assert record['tasks'] == pytest.approx({k: v for own in records for k, v in own['tasks'].items()})
        assert set(record['curves']['loss of']) == set(OPTIMIZERS)
        assert 'turn' not in record
    wanted = alone[0].state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in together[0].state_dict().items())


def test_an_optimizer_may_use_the_first_identities_of_each_batch():
    model, components = build()
    settings = copy.deepcopy(OPTIMIZERS)
    settings['critic']['identities'] = 2
    step = step_of(model, components, order=list(OPTIMIZERS), optimizers=settings)
    few = batch()
    few = replace(
        few, images={m: x[:4] for m, x in few.images.items()}, identities={m: x[:4] for m, x in few.identities.items()}
    )
    wanted = model(few, tasks={'critic'})['critic'].item()
    assert step(batch(), Progress(0, 2, 3, 3))['tasks']['critic'] == pytest.approx(wanted)
    settings['critic']['identities'] = 4
    step = step_of(build()[0], components, order=list(OPTIMIZERS), optimizers=settings)
    with pytest.raises(Mismatch, match=r'4 identities .* 3'):
        step(batch(), Progress(0, 2, 3, 3))


def test_optimizers_that_share_a_turn_use_the_same_images():
    settings = copy.deepcopy(OPTIMIZERS)
    settings['critic']['identities'] = 2
    with pytest.raises(Conflict, match='network, generator, critic') as caught:
        step_of(*build(), optimizers=settings)
    assert 'step.order' in caught.value.todo


def test_a_critic_that_no_optimizer_has_is_refused_or_frozen():
    settings = {name: own for name, own in copy.deepcopy(OPTIMIZERS).items() if name != 'critic'}
    settings['generator']['tasks'] = ['fool', 'critic']
    with pytest.raises(Mismatch, match=r'tasks\.critic\.head\.layer\.weight and 1 '):
        step_of(*build(), optimizers=settings)
    model, components = build()
    step_of(model, components, optimizers=settings, freeze_rest=True)
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == [
        'tasks.critic.head.layer.weight', 'tasks.critic.head.layer.bias'
    ]  # fmt: skip
    assert not model.train().tasks['critic'].head.training


def test_the_gradient_of_a_stopped_input_is_not_computed():
    def change(config: dict[str, Any]) -> None:
        config['heads']['critic']['stop'] = 'fake'

    for tasks, change_or_none, reached in (({'fool'}, None, True), ({'critic'}, change, False)):
        model, _ = build(change_or_none)
        model(batch(), tasks=tasks)[next(iter(tasks))].backward()
        assert (model.translators['shift'].shift.grad is not None) == reached

    def misspell(config: dict[str, Any]) -> None:
        config['heads']['critic']['stop'] = 'fakes'

    with pytest.raises(UnknownName, match=r"'fakes'.*'fake'") as caught:
        build(misspell)
    assert caught.value.path == 'model.heads.critic.stop'


def test_a_translated_modality_is_what_is_embedded():
    model, _ = build()
    model.eval()
    with torch.no_grad():
        model.translators['shift'].shift.fill_(2)
        images = torch.randn(2, 3, 4, 2)
        mean = images.mean((2, 3)) / (1 + 1e-5) ** 0.5
        assert torch.allclose(model.embed(images, INFRARED), mean, atol=1e-5)
        assert torch.allclose(model.embed(images, VISIBLE), (mean + 2) / (1 + 1e-5) ** 0.5, atol=1e-5)


def test_images_are_not_an_embedding_and_a_joint_head_does_not_read_them():
    def embedding(config: dict[str, Any]) -> None:
        config['embedding'] = 'images'

    with pytest.raises(Mismatch, match=r"'images' .* paired ") as caught:
        build(embedding)
    assert caught.value.path == 'model.embedding'

    def head(config: dict[str, Any]) -> None:
        config['heads']['mean']['inputs'] = 'images'

    with pytest.raises(Mismatch, match=r"GlobalHead .* joint .*'images' .*paired"):
        build(head)
