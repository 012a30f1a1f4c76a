"""Several optimizers are bit-identical to hand-written loops."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from vireid.core.registry.schema import check
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch, Progress
from vireid.errors import (
    Conflict,
    Mismatch,
    NoMatch,
    UnknownComponent,
    UnknownKey,
    UnknownName,
    VireidError,
    WrongValue,
)
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.steps.multiple_optimizers import MultipleOptimizers
from vireid.plugins.steps.param_groups import parameter_groups
from vireid.plugins.weighters.fixed import Fixed
from vireid.plugins.weighters.homoscedastic_uncertainty import HomoscedasticUncertainty


class Adversarial(nn.Module):
    """A feature network and a critic that predicts the modality, trained against each other."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network, self.classifier, self.critic = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1)
        self.norm = nn.BatchNorm1d(4)
        self.weighter: nn.Module = Fixed(('identity', 'fool', 'tell'), {'fool': 0.5})
        self.passes = 0

    def features(self, images: Tensor) -> Tensor:
        return self.norm(self.network(images.mean((2, 3))))

    def embed(self, images: Tensor, modality: str) -> Tensor:
        return self.features(images)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        self.passes += 1
        feature = self.features(torch.cat([batch.images[m] for m in MODALITIES]))
        labels = torch.cat([batch.identities[m] for m in MODALITIES])
        told = self.critic(feature).squeeze(1)
        truth = torch.cat([torch.full((len(batch.images[m]),), float(m == VISIBLE)) for m in MODALITIES])
        criterion = nn.functional.binary_cross_entropy_with_logits
        return {
            'identity': nn.functional.cross_entropy(self.classifier(feature), labels),
            'fool': criterion(told, 1 - truth),
            'tell': criterion(told, truth),
        }


def batch(step: int = 0, scale: float = 1.0) -> Batch:
    generator = torch.Generator().manual_seed(step)
    images = {m: scale * torch.randn(8, 3, 2, 2, generator=generator) for m in (VISIBLE, INFRARED)}
    return Batch(images, dict.fromkeys(images, torch.arange(8) % 4))


NETWORK = {
    'parameters': ['network.*', 'classifier.*', 'norm.*'],
    'tasks': ['identity', 'fool'],
    'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9},
    'groups': {'classifier.*': {'lr': 0.2}},
    'schedule': [{'type': 'StepLR', 'step_size': 1, 'gamma': 0.5, 'by': 'epoch'}],
}
CRITIC = {'parameters': ['critic.*'], 'tasks': ['tell'], 'optimizer': {'type': 'Adam', 'lr': 0.01}, 'clip_norm': 0.05}


def make(model: nn.Module, order: Any = None, **optimizers: Any) -> MultipleOptimizers:
    fabric = Fabric(accelerator='cpu', devices=1)
    given = optimizers or {'critic': CRITIC, 'network': NETWORK}
    return MultipleOptimizers(model, fabric, create_manager().components, given, order)


def at(step: int) -> Progress:
    return Progress(step // 3, step, 3, 30)


def by_hand(turns: list[tuple[str, ...]], steps: int) -> Adversarial:
    """The hand-written loop: each optimizer has its own backward pass of its losses to its parameters."""
    model = Adversarial()
    own = {
        'network': [*model.network.parameters(), *model.classifier.parameters(), *model.norm.parameters()],
        'critic': [*model.critic.parameters()],
    }
    groups = [
        {'params': list(model.classifier.parameters()), 'lr': 0.2},
        {'params': [*model.network.parameters(), *model.norm.parameters()]},
    ]
    optimizers = {
        'network': torch.optim.SGD(groups, lr=0.1, momentum=0.9),
        'critic': torch.optim.Adam(own['critic'], lr=0.01),
    }
    schedule = torch.optim.lr_scheduler.StepLR(optimizers['network'], 1, 0.5)
    for step in range(steps):
        turn = turns[step % len(turns)]
        statistics = {name: value.clone() for name, value in model.named_buffers()}
        losses = model(batch(step))
        wanted = {'network': losses['identity'] + 0.5 * losses['fool'], 'critic': losses['tell']}
        gradients = {name: torch.autograd.grad(wanted[name], own[name], retain_graph=True) for name in turn}
        for name in turn:
            for parameter, gradient in zip(own[name], gradients[name], strict=True):
                parameter.grad = gradient
            if name == 'critic':
                nn.utils.clip_grad_norm_(own[name], 0.05)
            optimizers[name].step()
        if 'network' not in turn:  # whose BatchNorm does not move in the critic's turn
            for name, value in model.named_buffers():
                value.copy_(statistics[name])
        if (step + 1) % 3 == 0:
            schedule.step()
    return model


def run(step: MultipleOptimizers, first: int, last: int) -> list[dict[str, Any]]:
    records = []
    for number in range(first, last):
        records.append(step(batch(number), at(number)))
        if (number + 1) % 3 == 0:
            step.epoch_ended(at(number))
    return records


@pytest.mark.parametrize(
    ('order', 'turns'),
    [
        (None, [('critic', 'network')]),
        (['critic', 'network'], [('critic',), ('network',)]),
        (['critic', 'critic', ['network', 'critic']], [('critic',), ('critic',), ('network', 'critic')]),
    ],
    ids=['together', 'alternating', 'two to one'],
)
def test_a_run_is_what_one_would_write_by_hand(order, turns):
    model = Adversarial()
    run(make(model, order), 0, 7)
    wanted = by_hand(turns, 7).state_dict()
    for name, value in model.state_dict().items():
        assert torch.allclose(value, wanted[name], rtol=0, atol=1e-6), name
    assert model.passes == 7  # one forward pass serves all optimizers of a turn


def test_only_those_whose_turn_it_is_move():
    model = Adversarial()
    step = make(model, ['critic', 'network'])
    before = {name: value.clone() for name, value in model.named_parameters()}
    run(step, 0, 1)
    moved = {name.split('.')[0] for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {'critic'}
    assert all(p.requires_grad for p in model.parameters())  # frozen for that pass only


def test_a_resumed_run_goes_on_bit_for_bit():
    whole, model = Adversarial(), Adversarial()
    run(make(whole, ['critic', 'network']), 0, 9)
    first = make(model, ['critic', 'network'])
    run(first, 0, 5)
    file = io.BytesIO()
    torch.save({'model': model.state_dict(), 'step': first.state_dict()}, file)
    file.seek(0)
    content = torch.load(file, weights_only=True)
    twin = Adversarial()
    second = make(twin, ['critic', 'network'])
    twin.load_state_dict(content['model'])
    second.load_state_dict(content['step'])
    run(second, 5, 9)
    for name, value in twin.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name


def test_the_record_tells_each_optimizer_by_name():
    together, alone = run(make(Adversarial(), [['critic', 'network'], 'network']), 0, 2)
    assert set(together['tasks']) == {'identity', 'fool', 'tell'}
    assert together['weights'] == {'identity': 1.0, 'fool': 0.5, 'tell': 1.0}
    parts = together['curves']['loss of']
    assert parts['critic'] == pytest.approx(together['tasks']['tell'])
    assert parts['network'] == pytest.approx(together['tasks']['identity'] + 0.5 * together['tasks']['fool'])
    assert together['loss'] == pytest.approx(sum(parts.values()))
    assert together['curves']['lr'] == {'critic': 0.01, 'network': 0.1}
    assert list(together['curves']['gradient']) == ['critic']  # the only optimizer with clipping
    assert list(alone['curves']['loss of']) == ['network']


def test_an_update_that_is_not_finite_is_left_out_of_that_optimizer_alone():
    model = Adversarial()
    step = make(model, critic={**CRITIC, 'skip_nonfinite': 1}, network={**NETWORK, 'skip_nonfinite': 1})
    run(step, 0, 1)
    model.critic.bias.register_hook(lambda gradient: gradient * float('nan'))
    before = {name: value.clone() for name, value in model.named_parameters()}
    record = step(batch(1), at(1))
    assert record['skipped'] == 1
    moved = {name.split('.')[0] for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {'network', 'classifier', 'norm'}
    record = step(batch(2), at(2))  # one too many, which stops the run
    assert 'skipped' not in record
    assert record['gradient'] != record['gradient']


@pytest.mark.parametrize(
    ('order', 'optimizers', 'error', 'fact'),
    [
        (None, {'critic': CRITIC}, Mismatch, r'step\.optimizers: .*network\.weight .* 5 '),
        (
            None,
            {'critic': CRITIC, 'network': {**NETWORK, 'parameters': ['*']}},
            Conflict,
            r'step\.optimizers\.critic and step\.optimizers\.network .*critic\.weight .* 1 ',
        ),
        (
            None,
            {'critic': CRITIC, 'network': {**NETWORK, 'parameters': [*NETWORK['parameters'], 'backbone.*']}},
            NoMatch,
            r"step\.optimizers\.network\.parameters: .*'backbone\.\*'",
        ),
        (['critic'], {}, Mismatch, r'step\.order .*network'),
        (['critc'], {}, UnknownName, r"step\.order\.0: .*'critc'.*'critic'"),
        ([], {}, WrongValue, r'step\.order '),
        (['critic', []], {}, WrongValue, r'step\.order\.1 '),
        (
            None,
            {'critic': CRITIC, 'network': {**NETWORK, 'groups': {'classifer.*': {'lr': 1.0}}}},
            NoMatch,
            r"step\.optimizers\.network\.groups: .*'classifer\.\*'",
        ),
    ],
)
def test_settings_that_cannot_work_are_reported_with_their_path(order, optimizers, error, fact):
    with pytest.raises(VireidError) as caught:
        make(Adversarial(), order, **optimizers)
    assert any(type(one) is error and re.search(fact, one.given) for one in caught.value.errors or [caught.value])


def test_a_task_that_does_not_exist_is_told_at_the_first_step():
    step = make(Adversarial(), critic={**CRITIC, 'tasks': ['tel']}, network=NETWORK)
    with pytest.raises(NoMatch, match=r"step\.optimizers\.critic\.tasks: 'tel' [\s\S]*identity, fool"):
        step(batch(), at(0))


def test_it_is_told_before_if_the_model_names_its_tasks():
    model = Adversarial()
    model.task_names = ('identity', 'fool', 'tell')
    with pytest.raises(NoMatch, match=r"step\.optimizers\.critic\.tasks: 'tel' .*'tell'"):
        make(model, critic={**CRITIC, 'tasks': ['tel']}, network=NETWORK)


def test_a_task_that_nobody_lowers_is_told_if_the_model_names_its_tasks():
    model = Adversarial()
    model.task_names = ('identity', 'fool', 'tell')
    with pytest.raises(Mismatch, match=r'step\.optimizers: .* fool\n'):
        make(model, critic=CRITIC, network={**NETWORK, 'tasks': ['identity']})


def test_tasks_that_its_parameters_do_not_make_are_told():
    network = {**NETWORK, 'tasks': ['fool', 'tell']}
    step = make(Adversarial(), ['network', 'critic'], critic={**CRITIC, 'tasks': ['identity']}, network=network)
    step(batch(), at(0))
    with pytest.raises(Mismatch, match=r'step\.optimizers\.critic\.tasks: identity '):
        step(batch(), at(1))


def test_a_weighter_that_is_trained_is_refused():
    model = Adversarial()
    model.weighter = HomoscedasticUncertainty(('identity', 'fool', 'tell'))
    with pytest.raises(VireidError) as caught:
        make(model)
    _, refused = caught.value.errors  # its parameter is not claimed either
    assert isinstance(refused, Conflict)
    assert 'HomoscedasticUncertainty' in refused.given


def test_state_of_other_optimizers_is_refused():
    with pytest.raises(Mismatch, match=r'checkpoint .*critic\n'):
        make(Adversarial()).load_state_dict({'critic': {}})


def test_settings_are_checked_like_any_others():
    components = create_manager().components
    wrong = {'critic': {**CRITIC, 'optimizer': {'type': 'SDG', 'lr': 0.1}, 'shedule': [], 'skip_nonfinite': -1}}
    found = check(
        MultipleOptimizers, {'optimizers': wrong}, where='step', components=components,
        supplied=('model', 'fabric', 'components'),
    )  # fmt: skip
    assert {error.path.removeprefix('step.optimizers.critic.'): type(error) for error in found} == {
        'optimizer': UnknownComponent, 'shedule': UnknownKey, 'skip_nonfinite': WrongValue,
    }  # fmt: skip


def test_a_group_whose_parameters_are_all_frozen_is_left_out():
    model = Adversarial()
    named = dict(model.named_parameters())
    for name in ('network.weight', 'network.bias'):
        named[name].requires_grad_(False)
    groups = parameter_groups(named, {'network.*': {'lr': 1.0}, 'critic.*': {'lr': 2.0}}, 'step')
    assert [(len(g['params']), g.get('lr')) for g in groups] == [(2, 2.0), (4, None)]
    with pytest.raises(NoMatch, match=r"step\.groups: .*'critic\.weight'"):
        parameter_groups(named, {'critic.*': {'lr': 1.0}, 'critic.weight': {'lr': 2.0}}, 'step')


def test_a_task_of_a_model_of_ones_own_that_nobody_minimizes_is_told():
    step = make(Adversarial(), critic=CRITIC, network={**NETWORK, 'tasks': ['identity']})
    with pytest.raises(Mismatch, match=r'step\.optimizers: .* fool\n'):
        step(batch(), at(0))
