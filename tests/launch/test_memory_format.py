"""The memory format of a run: what a trial found faster, kept when resumed, with the weights of either format."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from vireid.boundary import checkpoint
from vireid.launch import memory_format
from vireid.launch.launch import prepare
from vireid.launch.memory_format import (
    AUTO,
    CHANNELS_LAST,
    CONTIGUOUS,
    channels_last_share,
    settle_memory_format,
    wait_for,
)


class Batches:
    """Hands out one batch."""

    def __init__(self, batch):
        self.batch = batch

    def first(self):
        return copy.copy(self.batch)


@pytest.fixture
def run(make_tiny, small_sysu, tmp_path):
    """A trainer of a small run in the given format."""

    def make(name, **rest):
        options = ['training.steps=3', 'training.epochs=null', 'training.checkpoint_every=1']
        experiment = make_tiny(small_sysu, *options, f'training.memory_format={name}')
        return prepare(experiment, tmp_path / name, **rest)

    return make


def settle(trainer, name, steps, resumed=None):
    experiment = trainer.experiment.with_overrides({'training.memory_format': name})
    batch = trainer.batches.first()
    found, reason = settle_memory_format(experiment, trainer.run.model, Batches(batch), trainer.fabric, steps, resumed)
    return found.training.memory_format, reason


def is_channels_last(model):
    """Of the convolutions with several channels; others fit both formats."""
    kernels = [p for p in model.parameters() if p.ndim == 4 and min(p.shape[1:3]) > 1]
    return {kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels}


@pytest.mark.parametrize(('share', 'name'), [(0.7, CHANNELS_LAST), (0.95, CHANNELS_LAST), (0.96, CONTIGUOUS)])
def test_auto_is_what_was_measured_to_be_faster(run, monkeypatch, share, name):
    trainer = run(CONTIGUOUS)
    monkeypatch.setattr(memory_format, 'channels_last_share', lambda *_: share)
    reason = f'auto: measured, channels_last took {share:.0%} of the time of contiguous'
    assert settle(trainer, AUTO, 200) == (name, reason)
    assert is_channels_last(trainer.run.model) == {name == CHANNELS_LAST}


def test_short_runs_have_no_trial(run, monkeypatch):
    monkeypatch.setattr(memory_format, 'channels_last_share', None)
    trainer = run(CONTIGUOUS)
    assert settle(trainer, AUTO, 199) == (CONTIGUOUS, 'auto: not tried in runs of fewer than 200 steps')


@pytest.mark.parametrize(
    ('given', 'kept', 'name', 'reason'),
    [
        (AUTO, CHANNELS_LAST, CHANNELS_LAST, 'kept from the checkpoint'),
        (AUTO, None, CONTIGUOUS, 'kept from the checkpoint'),  # of an earlier version
        (CONTIGUOUS, CHANNELS_LAST, CONTIGUOUS, 'set by the config'),
    ],
)
def test_a_resumed_run_keeps_its_format(run, monkeypatch, given, kept, name, reason):
    monkeypatch.setattr(memory_format, 'channels_last_share', None)
    training = {} if kept is None else {'memory_format': kept}
    assert settle(run(CONTIGUOUS), given, 1000, {'training': training}) == (name, reason)


def test_a_trial_leaves_the_model_and_the_random_numbers_as_they_were(run):
    trainer = run(CONTIGUOUS)
    model = trainer.run.model
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    share = channels_last_share(model, trainer.batches.first(), trainer.fabric)
    assert 0 < share < 100
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_trial_needs_no_values_on_the_cpu(run):
    # tensors on `meta` stand for those on a GPU: a batch with labels on the CPU would fail, and so not be timed
    trainer = run(CONTIGUOUS)
    batch = trainer.batches.first()
    images, identities, cameras = (
        {m: x.to('meta') for m, x in part.items()} for part in (batch.images, batch.identities, batch.cameras)
    )
    moved = replace(batch, images=images, identities=identities, cameras=cameras)
    share = channels_last_share(trainer.run.model.to('meta'), moved, trainer.fabric)
    assert share != 1


@pytest.mark.parametrize('kind', ['cuda', 'mps'])
def test_a_time_includes_the_work_of_the_device(monkeypatch, kind):
    waited = list[object]()
    monkeypatch.setattr(getattr(torch, kind), 'synchronize', lambda *device: waited.append(device))
    wait_for(torch.device('cpu'))
    assert not waited
    wait_for(torch.device(kind))
    assert len(waited) == 1


def test_a_model_that_cannot_be_tried_stays_contiguous(run):
    trainer = run(CONTIGUOUS)
    trainer.run.model.forward = None
    assert channels_last_share(trainer.run.model, trainer.batches.first(), trainer.fabric) == 1


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
