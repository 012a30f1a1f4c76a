"""EMA weights, gradient accumulation and skipped steps, against explicit formulas."""

from __future__ import annotations

import math
import os
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from vireid.core.types import INFRARED, VISIBLE, Batch, Progress
from vireid.errors import Mismatch
from vireid.launch.compilation import compile_forward
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.steps.accumulation import split_identities
from vireid.plugins.steps.ema import ExponentialMovingAverage
from vireid.plugins.steps.single_optimizer import SingleOptimizer
from vireid.plugins.weighters.fixed import Fixed

AT = Progress(0, 0, 10, 10)


class Linear(nn.Module):
    """A model with one weight vector, whose loss is the mean over images of (w . x - identity)^2."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
        self.weighter = Fixed(('a',))

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        x = torch.cat([batch.images[m] for m in batch.images]).mean(dim=(2, 3))
        y = torch.cat([batch.identities[m] for m in batch.identities]).float()
        return {'a': ((x @ self.w - y) ** 2).mean()}

    def embed(self, images: torch.Tensor, modality: str) -> torch.Tensor:
        return images.mean(dim=(2, 3)) * self.w


def batch(seed: int = 0, scale: float = 1.0) -> Batch:
    """Four identities with two visible and two infrared images each."""
    torch.manual_seed(seed)
    identities = torch.tensor([3, 3, 1, 1, 0, 0, 2, 2])
    return Batch(
        images={m: scale * torch.randn(8, 3, 2, 2) for m in (VISIBLE, INFRARED)},
        identities=dict.fromkeys((VISIBLE, INFRARED), identities),
        cameras={m: torch.arange(8) for m in (VISIBLE, INFRARED)},
        paths={m: [f'{m}{i}' for i in range(8)] for m in (VISIBLE, INFRARED)},
    )


def step(model: Linear, **settings: Any) -> SingleOptimizer:
    fabric = Fabric(accelerator='cpu', devices=1)
    optimizer = {'type': 'SGD', 'lr': 0.1}
    return SingleOptimizer(model, fabric, create_manager().components, optimizer=optimizer, **settings)


class TestParts:
    def test_parts_are_of_whole_identities_in_order_and_nothing_is_lost(self):
        whole = batch()
        first, second = split_identities(whole, 2)
        assert first.identities[VISIBLE].tolist() == [3, 3, 1, 1]
        assert second.identities[INFRARED].tolist() == [0, 0, 2, 2]
        assert second.paths[VISIBLE] == [f'visible{i}' for i in (4, 5, 6, 7)]
        assert second.cameras[INFRARED].tolist() == [4, 5, 6, 7]
        assert torch.equal(torch.cat([first.images[VISIBLE], second.images[VISIBLE]]), whole.images[VISIBLE])

    @pytest.mark.parametrize(('parts', 'sizes'), [(1, [8]), (3, [2, 2, 4]), (4, [2, 2, 2, 2])])
    def test_they_are_as_equal_as_can_be(self, parts, sizes):
        assert [len(part.identities[VISIBLE]) for part in split_identities(batch(), parts)] == sizes

    def test_more_parts_than_identities_are_refused(self):
        with pytest.raises(Mismatch, match=r'accumulate is 5, .* 4 '):
            split_identities(batch(), 5)

    @pytest.mark.parametrize('parts', [2, 3, 4])
    def test_a_step_in_parts_is_the_step_of_a_loss_that_is_a_mean(self, parts):
        whole, taken = Linear(), Linear()
        record = step(whole)(batch(), AT)
        found = step(taken, accumulate=parts)(batch(), AT)
        torch.testing.assert_close(taken.w, whole.w)
        assert found['loss'] == pytest.approx(record['loss'])
        assert found['tasks'] == pytest.approx(record['tasks'])
        assert found['weights'] == pytest.approx({'a': 1.0})


class TestAverage:
    def test_it_is_the_formula(self):
        model = Linear()
        made = step(model, ema=0.75)
        average = model.w.detach().clone()
        for number in range(4):
            made(batch(number), AT)
            average = 0.75 * average + 0.25 * model.w.detach()
            raw = model.w.detach().clone()
            with made.ema_weights():
                torch.testing.assert_close(model.w.detach(), average)
            assert torch.equal(model.w, raw)

    def test_an_error_inside_gives_the_own_weights_back(self):
        model = Linear()
        made = step(model, ema=0.75)
        made(batch(), AT)
        raw = model.w.detach().clone()
        with pytest.raises(ZeroDivisionError), made.ema_weights():
            raise ZeroDivisionError
        assert torch.equal(model.w, raw)

    def test_a_step_that_is_saved_and_restored_goes_on_as_if_it_were_not(self):
        model = Linear()
        made = step(model, ema=0.75)
        made(batch(0), AT)
        with made.ema_weights():
            scored = {name: value.clone() for name, value in model.state_dict().items()}
            state = made.state_dict()
        other = Linear()
        other.load_state_dict(scored)
        again = step(other, ema=0.75)
        again.load_state_dict(state)
        for number in (1, 2):
            made(batch(number), AT)
            again(batch(number), AT)
        assert torch.equal(model.w, other.w)
        with made.ema_weights(), again.ema_weights():
            assert torch.equal(model.w, other.w)

    def test_a_checkpoint_without_averages_is_refused(self):
        with pytest.raises(Mismatch, match='EMA'):
            step(Linear(), ema=0.5).load_state_dict(step(Linear()).state_dict())

    def test_buffers_are_the_newest_ones(self):
        model = nn.BatchNorm1d(3)
        average = ExponentialMovingAverage(model, 0.5)
        model(torch.randn(4, 3))
        average.update()
        newest = model.running_mean.clone()
        with average.in_place():
            assert torch.equal(model.running_mean, newest)


class TestSkipping:
    def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(self):
        model = Linear()
        made = step(model, skip_nonfinite=2, ema=0.5)
        made(batch(), AT)
        before = model.w.detach().clone()
        for count in (1, 2):
            record = made(batch(scale=math.inf), AT)
            assert record['skipped'] == count
            assert not math.isfinite(record['loss'])
            assert torch.equal(model.w, before)
        assert 'skipped' not in made(batch(scale=math.inf), AT)  # one too many, which stops the run

    def test_a_gradient_that_is_not_finite_counts_too(self):
        class Root(Linear):
            def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
                return {'a': (self.w - self.w.detach()).abs().sqrt().sum()}  # 0, with an infinite slope

        model = Root()
        record = step(model, skip_nonfinite=1)(batch(), AT)
        assert record['loss'] == 0
        assert record['skipped'] == 1
        assert torch.isfinite(model.w).all()

    def test_a_resumed_run_goes_on_counting(self):
        model = Linear()
        made = step(model, skip_nonfinite=2)
        made(batch(scale=math.nan), AT)
        again = step(Linear(), skip_nonfinite=2)
        again.load_state_dict(made.state_dict())
        assert again(batch(scale=math.nan), AT)['skipped'] == 2


class TestCompiling:
    def test_a_model_that_cannot_be_compiled_runs_as_it_is_with_one_warning(self, monkeypatch, capsys):
        def refuse(*given: Any) -> None:
            raise RuntimeError('no compiler\nand more')

        monkeypatch.setattr(torch, 'compile', lambda function: refuse)
        plain, model = Linear(), Linear()
        compile_forward(model)
        for number in range(3):
            assert torch.equal(model(batch(number))['a'], plain(batch(number))['a'])
        assert capsys.readouterr().err == (
            'warning: the model cannot be compiled (RuntimeError: no compiler); it runs uncompiled\n'
        )
        assert list(model.state_dict()) == list(plain.state_dict())

    def test_what_is_compiled_is_the_pass_itself(self, monkeypatch):
        compiled: list[Any] = []

        def note(function: Any) -> Any:
            compiled.append(function)
            return function

        monkeypatch.setattr(torch, 'compile', note)
        model = Linear()
        plain = model.forward
        compile_forward(model)
        assert compiled == [plain]


@pytest.mark.parametrize('changes', [[], [3]])
def test_in_several_processes_parameters_may_be_unused_in_some_epochs(changes, monkeypatch):
    """DDP has to be told so, and is slower then."""
    monkeypatch.setattr(os, 'environ', dict(os.environ))  # in which Fabric notes the address of the processes
    fabric, model = Fabric(accelerator='cpu', devices=1, strategy='ddp'), nn.Linear(3, 4)
    model.changes, model.embed = changes, model.forward
    fabric.launch()
    try:
        step = SingleOptimizer(model, fabric, create_manager().components, {'type': 'SGD', 'lr': 0.1})
    finally:
        torch.distributed.destroy_process_group()
    assert step.model._forward_module.find_unused_parameters == bool(changes)
