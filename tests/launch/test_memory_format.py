"""The memory format of a run: chosen by a rule, kept when resumed, with the weights of either format."""

from __future__ import annotations

import pytest
import torch

from vireid.boundary import checkpoint
from vireid.launch.launch import prepare
from vireid.launch.memory_format import AUTO, CHANNELS_LAST, CONTIGUOUS, auto_format, settle_memory_format


@pytest.fixture
def run(make_tiny, small_sysu, tmp_path):
    """A trainer of a small run in the given format."""

    def make(name, **rest):
        options = ['training.steps=3', 'training.epochs=null', 'training.checkpoint_every=1']
        experiment = make_tiny(small_sysu, *options, f'training.memory_format={name}')
        return prepare(experiment, tmp_path / name, **rest)

    return make


def settle(trainer, name, resumed=None):
    experiment = trainer.experiment.with_overrides({'training.memory_format': name})
    found = settle_memory_format(experiment, trainer.run.model, trainer.fabric.device, resumed)
    return found.training.memory_format


def is_channels_last(model):
    """Of the convolutions with several channels; others fit both formats."""
    kernels = [p for p in model.parameters() if p.ndim == 4 and min(p.shape[1:3]) > 1]
    return {kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels}


@pytest.mark.parametrize(
    ('device', 'precision', 'name'),
    [
        ('cpu', '32-true', CHANNELS_LAST),
        ('cpu', 'bf16-mixed', CHANNELS_LAST),
        ('cuda', '16-mixed', CHANNELS_LAST),
        ('cuda', 'bf16-mixed', CHANNELS_LAST),
        ('cuda', '32-true', CONTIGUOUS),
        ('mps', '32-true', CONTIGUOUS),
    ],
)
def test_auto_is_a_rule(device, precision, name):
    assert auto_format(torch.device(device), precision) == name


def test_auto_needs_no_time_and_converts_the_weights(run, monkeypatch):
    trainer = run(CONTIGUOUS)
    assert is_channels_last(trainer.run.model) == {False}
    monkeypatch.setattr('time.perf_counter', None)  # timing it would give other numbers when the machine is busy
    assert settle(trainer, AUTO) == CHANNELS_LAST
    assert is_channels_last(trainer.run.model) == {True}


@pytest.mark.parametrize(
    ('given', 'kept', 'name'),
    [
        (AUTO, CHANNELS_LAST, CHANNELS_LAST),
        (AUTO, None, CONTIGUOUS),  # of an earlier version
        (CONTIGUOUS, CHANNELS_LAST, CONTIGUOUS),
    ],
)
def test_a_resumed_run_keeps_its_format(run, given, kept, name):
    training = {} if kept is None else {'memory_format': kept}
    assert settle(run(CONTIGUOUS), given, {'training': training}) == name


def test_channels_last_trains_the_same_network_and_resumes_bit_for_bit(run, make_tiny, small_sysu, tmp_path):
    for name in (CONTIGUOUS, CHANNELS_LAST):
        run(name).train()
    ours, theirs = (
        checkpoint.load(tmp_path / name / 'checkpoints' / 'last.pt') for name in (CHANNELS_LAST, CONTIGUOUS)
    )
    assert ours['config']['training']['memory_format'] == CHANNELS_LAST
    for key, value in theirs['model'].items():
        torch.testing.assert_close(ours['model'][key], value, rtol=1e-3, atol=1e-4, msg=key)
    trainer = run(CHANNELS_LAST, resume=tmp_path / CHANNELS_LAST / 'checkpoints' / 'last-1.pt')
    assert trainer.progress.step == 2
    assert is_channels_last(trainer.run.model) == {True}
    trainer.train()
    again = checkpoint.load(tmp_path / CHANNELS_LAST / 'checkpoints' / 'last.pt')
    assert all(torch.equal(again['model'][key], value) for key, value in ours['model'].items())
