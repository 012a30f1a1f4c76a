"""A run resumes with another number of processes if its batches stay the same; else it says how to keep them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vireid.boundary import checkpoint
from vireid.errors import Changed
from vireid.launch.launch import train


@pytest.fixture
def of_two(tmp_path: Path, small_sysu: Path, make_tiny: Any) -> Any:
    """Returns what makes the checkpoint of a run that two processes took a step of, with identities for each."""

    def make(identities: int) -> tuple[Any, Path]:
        experiment = make_tiny(small_sysu, 'sampler.identities=2', 'training.epochs=None', 'training.steps=1')
        path = tmp_path / 'run' / 'checkpoints' / 'last.pt'
        train(experiment, tmp_path / 'run')
        config = checkpoint.load(path)['config']
        config['sampler']['identities'] = identities
        checkpoint.amend(path, {'processes': 2, 'config': config})
        return experiment.with_overrides({'training.steps': 3}), path

    return make


def test_one_process_goes_on_with_the_batches_of_two(of_two, tmp_path, capsys):
    experiment, path = of_two(identities=1)  # 2 x 1 are the 2 of this run
    train(experiment, tmp_path / 'run', resume=path)
    lines = [json.loads(line) for line in (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()]
    assert [line['step'] for line in lines if 'loss' in line] == [1, 2, 3]
    told = capsys.readouterr().err
    assert 'was trained with 2 processes, but this run has 1. Each step' in told
    assert 'the same images in the same order, but these differ: dropout' in told
    assert 'training.sync_batchnorm is False' in told
    assert checkpoint.load(path)['processes'] == 1


def test_other_batches_are_refused_with_the_settings_that_keep_them(of_two, tmp_path):
    experiment, path = of_two(identities=1)
    for other, needed in (({'identities': 1}, ''), ({'visible': 1}, ' sampler.visible=2')):
        changed = experiment.with_overrides({f'sampler.{name}': value for name, value in other.items()})
        with pytest.raises(Changed, match=r'2 processes.* 1') as caught:
            train(changed, tmp_path / 'run', resume=path)
        assert f'--cfg-options sampler.identities=2{needed}; ' in caught.value.todo
        assert '2 processes' in caught.value.todo
