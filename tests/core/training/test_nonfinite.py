"""Losses, gradients and weights that are no numbers: what stops a run, what is left out, and that no trace remains."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faults
import pytest
import torch
from torch import Tensor, nn

from vireid.boundary import checkpoint
from vireid.core.config.experiment import Experiment
from vireid.core.training.nonfinite import is_finite, not_finite
from vireid.core.types import Batch, Progress
from vireid.errors import NotFinite
from vireid.launch.launch import train
from vireid.plugin_manager.manager import hookimpl
from vireid.synth import synthesize


class Spoilt(nn.Module):
    """A loss of the logits' size, of which the k-th evaluations, or their gradients, are not finite."""

    def __init__(self, at: list[int], value: str, backward: bool = False) -> None:
        super().__init__()
        self.at, self.value, self.backward = at, float(value), backward
        self.calls = 0

    def forward(self, output: Any, identities: Tensor) -> Tensor:
        self.calls += 1
        found = output.logits.square().mean()
        if self.calls not in self.at:
            return found
        if self.backward:
            found.register_hook(lambda gradient: gradient * self.value)
            return found
        return found * self.value


class SpoiltBackbone(faults.Tiny):
    """The fault tests' backbone; its second batch is not finite, before BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
        self.calls += self.training
        spoilt = self.training and self.calls == 2
        return super().forward({m: x * math.nan if spoilt else x for m, x in images.items()})


@hookimpl
def register_components(add: Any) -> None:
    add('losses', 'Spoilt', Spoilt)
    add('backbones', 'SpoiltBackbone', SpoiltBackbone)


@pytest.fixture(scope='module')
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('people')
    synthesize(folder / 'data', layout='sysu', ids=10, seed=0, images=1, workers=1)
    return folder / 'data'


def experiment(people: Path, spoilt: dict[str, Any] | None = None, backbone: str = 'Tiny', **step: Any) -> Experiment:
    config = faults.experiment(people).to_config()
    config['step'] = {**config['step'], 'accumulate': 1, 'clip_norm': None, **step}
    config['evaluation'] = {}
    config['training'] = {**config['training'], 'evaluate_every': None, 'checkpoint_every': 1}
    config['model']['backbone'] = {'type': backbone}
    if spoilt:
        losses = {'id': {'type': 'CrossEntropy'}, 'spoilt': {'type': 'Spoilt', **spoilt}}
        config['model']['heads'] = {name: {'type': 'GlobalHead', 'losses': losses} for name in ('a', 'b')}
    manager = faults.create_manager()
    manager.register(faults, 'faults')
    manager.register(sys.modules[__name__], 'spoilt')
    return Experiment.from_config(config, manager)


def lines(folder: Path) -> list[dict[str, Any]]:
    def refuse(word: str) -> None:
        raise AssertionError(f'{word} is no JSON')

    text = (folder / 'metrics.jsonl').read_text()
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines() if 'rows' not in line]


def last(folder: Path) -> dict[str, Any]:
    return checkpoint.load(folder / 'checkpoints' / 'last.pt')


def test_one_bad_step_that_is_left_out_stops_nothing_later(people, tmp_path, capsys):
    """Lambda follows the losses' mean: one NaN in it would make all later losses NaN."""
    train(experiment(people, {'at': [2], 'value': 'nan'}, skip_nonfinite=1), tmp_path)
    found = lines(tmp_path)
    assert [line['step'] for line in found if 'skipped' in line] == [2]
    assert found[1]['loss'] is None
    assert all(math.isfinite(line['loss']) for line in found if 'skipped' not in line)
    assert capsys.readouterr().err.count('warning: step 2 was skipped: its loss is not finite') == 1
    assert json.loads((tmp_path / 'result.json').read_text())['skipped_steps'] == [2]


def test_nor_does_it_stay_in_batchnorm_s_figures(people, tmp_path):
    train(experiment(people, backbone='SpoiltBackbone', skip_nonfinite=1), tmp_path)
    assert all(torch.isfinite(value).all() for value in last(tmp_path)['model'].values())
    assert json.loads((tmp_path / 'result.json').read_text())['skipped_steps'] == [2]


@pytest.mark.parametrize('value', ['nan', 'inf'])
@pytest.mark.parametrize('step', [{'clip_norm': 5.0}, {'skip_nonfinite': 1}], ids=['clip', 'skip'])
def test_a_gradient_that_is_not_finite_is_not_applied(people, tmp_path, step, value):
    """The budget of one is used up at the second step."""
    at = [2] if 'clip_norm' in step else [1, 2]
    with pytest.raises(NotFinite, match=r'gradient .*(nan|inf) .*loss is \d') as caught:
        train(experiment(people, {'at': at, 'value': value, 'backward': True}, **step), tmp_path)
    assert f'{tmp_path}/checkpoints/last.pt' in caught.value.given
    assert last(tmp_path)['progress']['step'] == 1
    assert all(torch.isfinite(value).all() for value in last(tmp_path)['model'].values())
    if 'clip_norm' in step:
        assert [line['gradient'] > 0 for line in lines(tmp_path)] == [True]


def test_weights_that_are_not_finite_are_not_saved(people, tmp_path):
    """Nothing looks at the gradient, so it is applied; the checkpoint before stays the newest."""
    with pytest.raises(NotFinite, match=rf'step 2 \S+ .*nan; .*{tmp_path}/checkpoints/last\.pt'):
        train(experiment(people, {'at': [2], 'value': 'nan', 'backward': True}), tmp_path)
    assert last(tmp_path)['progress']['step'] == 1
    assert all(torch.isfinite(value).all() for value in last(tmp_path)['model'].values())


def test_the_way_on_that_errors_name_is_open(people, tmp_path):
    spoilt = {'at': [2], 'value': 'nan', 'backward': True}
    with pytest.raises(NotFinite, match=r'--resume.*step\.clip_norm'):  # it is in float32 already
        train(experiment(people, spoilt), tmp_path)
    newest = tmp_path / 'checkpoints' / 'last.pt'
    with pytest.raises(NotFinite, match=r'gradient .*nan[\s\S]*step\.skip_nonfinite'):
        train(experiment(people, spoilt, clip_norm=5.0), tmp_path, resume=newest)
    train(experiment(people, spoilt, skip_nonfinite=1), tmp_path, resume=newest)
    assert json.loads((tmp_path / 'result.json').read_text())['skipped_steps'] == [4]  # the one before went on to 2


def test_the_error_names_task_and_images(people, tmp_path):
    with pytest.raises(NotFinite, match=r'nan \(from a, b\)') as caught:
        train(experiment(people, {'at': [2], 'value': 'nan'}), tmp_path)
    assert '.jpg and 15 ' in caught.value.given
    assert 'step.skip_nonfinite' in caught.value.todo


@pytest.mark.parametrize(
    ('precision', 'remedies'),
    [
        ('bf16-mixed', ['--precision 32-true', 'bf16-mixed', 'step.clip_norm', 'step.skip_nonfinite']),
        ('32-true', ['step.clip_norm', 'step.skip_nonfinite']),
    ],
)
def test_the_precision_is_suspected_first_where_it_is_not_full(people, tmp_path, precision, remedies):
    made = experiment(people).with_overrides({'training.precision': precision})
    run = SimpleNamespace(experiment=made, checkpoint=tmp_path / 'last.pt')
    batch = Batch({}, {}, paths={'visible': ['a.jpg', 'b.jpg']})
    todo = not_finite({'loss': math.nan}, batch, run).todo
    assert re.findall(r'--precision \S+|bf16-mixed|step\.\w+', todo) == remedies


def scaled(people: Path, monkeypatch: pytest.MonkeyPatch, at: list[int]) -> tuple[Any, nn.Module, Any, Any]:
    """A step as of 16-mixed, with torch's scaler on the CPU, its model, a batch, and the scaler."""
    from lightning_fabric.plugins.precision.amp import MixedPrecision

    from vireid.launch.fabric import make_fabric

    made = experiment(people, {'at': at, 'value': 'inf', 'backward': True}, skip_nonfinite=1)
    fabric = make_fabric(made.training)
    scaler = torch.amp.GradScaler('cpu', init_scale=2.0**16)
    precision = MixedPrecision('16-mixed', 'cpu', scaler=scaler)
    monkeypatch.setattr(precision, 'forward_context', torch.enable_grad)  # in float32: the scaler is what is tested
    monkeypatch.setattr(precision, 'convert_input', lambda data: data)
    fabric._strategy._precision = fabric._precision = precision
    model = made.build_model(2)
    step = made.build_step(model, fabric)
    images = {m: torch.rand(4, 3, 24, 12) for m in ('visible', 'infrared')}
    ids = {m: torch.tensor([0, 0, 1, 1]) for m in images}
    batch = Batch(images=images, identities=ids, cameras=ids, paths={m: ['x.jpg'] * 4 for m in images})
    return step, model.train(), batch, scaler


def test_scaled_losses_that_overflow_are_left_to_the_scaler(people, monkeypatch):
    """It lowers its scale and leaves the step out; that is no error."""
    step, model, batch, scaler = scaled(people, monkeypatch, [1])
    before = {name: p.clone() for name, p in model.named_parameters()}
    first = step(batch, Progress(0, 0, 2, 2))
    assert is_finite(first)
    assert 'skipped' not in first
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert scaler.get_scale() == 2.0**15
    second = step(batch, Progress(0, 1, 2, 2))
    assert second['gradient'] > 0
    assert any(not torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_but_a_gradient_that_no_scale_mends_is_an_error(people, monkeypatch):
    step, model, batch, scaler = scaled(people, monkeypatch, list(range(1, 100)))
    before = {name: p.clone() for name, p in model.named_parameters()}
    records = [step(batch, Progress(0, number, 40, 40)) for number in range(18)]
    assert [is_finite(record) for record in records] == [True] * 16 + [False] * 2
    assert [record.get('skipped') for record in records[16:]] == [1, None]
    assert scaler.get_scale() <= 1
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_steps_of_others_need_no_gradient_in_their_record():
    assert is_finite({'loss': 1.0})
    assert not is_finite({'loss': math.nan})
    assert not is_finite({'loss': 1.0, 'gradient': math.inf})
