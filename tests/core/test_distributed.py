"""Two processes (gloo, CPU) that see half a batch each do what one does with the whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vireid.core import checkpoint, distributed
from vireid.synth import synthesize

SCRIPT = Path(__file__).parents[1] / 'fixtures' / 'two_processes.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('processes')
    synthesize(folder / 'people', layout='sysu', ids=10, seed=0, images=1, workers=1)
    return folder


def launch(folder: Path, what: str, processes: int) -> None:
    launcher = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2'] if processes == 2 else []
    words = [sys.executable, *launcher, str(SCRIPT), what, str(folder / 'people'), str(folder)]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    found = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=150)
    assert found.returncode == 0, found.stderr[-3000:]


def read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def test_half_a_batch_each_gives_the_loss_and_the_gradients_of_the_whole(folder):
    for processes in (1, 2):
        launch(folder, 'gradients', processes)
    whole, first, second = (read(folder / f'gradients-{name}.pt') for name in ('1-0', '2-0', '2-1'))
    assert first['losses'] == pytest.approx(whole['losses'], abs=1e-6)  # as records have them, in float32
    assert first['losses'] == second['losses']
    assert first['weights'] == second['weights']
    assert whole['gradients'].keys() == first['gradients'].keys()
    assert any(name.startswith('weighter.') for name in whole['gradients'])
    for name, gradient in whole['gradients'].items():
        torch.testing.assert_close(first['gradients'][name], gradient, atol=1e-12, rtol=1e-9, msg=name)
    for name, value in first['model'].items():
        assert torch.equal(value, second['model'][name]), name
        torch.testing.assert_close(value, whole['model'][name], atol=1e-9, rtol=1e-7, msg=name)


def test_a_run_of_two_processes_is_scored_as_one_and_written_once(folder):
    for processes in (1, 2):
        launch(folder, 'train', processes)
    one, two = folder / 'run-1', folder / 'run-2'
    lines = {run: [json.loads(line) for line in (run / 'metrics.jsonl').read_text().splitlines()] for run in (one, two)}
    assert [line['step'] for line in lines[two]] == [line['step'] for line in lines[one]]  # none twice
    for a, b in zip(lines[one], lines[two], strict=True):
        if 'loss' in a:
            assert b['loss'] == pytest.approx(a['loss'], rel=1e-3)
            assert b['weights'] == pytest.approx(a['weights'], rel=1e-3)
    assert (two / 'result.json').exists()
    # the weights of the two, scored here by one process, have the figures that the two gave
    sys.path.insert(0, str(SCRIPT.parents[2] / 'benchmarks'))
    import faults

    from vireid.core.scoring import score_checkpoint

    made = faults.experiment(folder / 'people', 0)
    scored = score_checkpoint(made, two / 'checkpoints' / 'best.pt', folder / 'scored')
    assert json.loads((two / 'result.json').read_text())['rows'] == json.loads(json.dumps(scored.to_dict()))['rows']
    assert checkpoint.load(two / 'checkpoints' / 'last.pt')['progress']['step'] == lines[one][-1]['step']


def test_in_one_process_nothing_changes():
    x = torch.randn(4, 3)
    assert distributed.world() == (0, 1)
    assert distributed.gather(x) is x
    assert distributed.mean_of({'a': x}) == {'a': x}
    assert distributed.gather_objects(3) == [3]
    norm, own = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    own.load_state_dict(norm.state_dict())
    synced = distributed.synchronize_norms(nn.Sequential(own))
    assert list(synced.state_dict()) == [f'0.{name}' for name in norm.state_dict()]
    torch.testing.assert_close(synced(x), norm(x))
    torch.testing.assert_close(synced[0].running_var, norm.running_var)
    torch.testing.assert_close(synced.eval()(x), norm.eval()(x))
