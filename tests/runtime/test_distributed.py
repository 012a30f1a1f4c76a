"""Two processes (gloo, CPU) that see half a batch each do what one does with the whole."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import faults
import numpy as np
import pytest
import torch
from torch import nn

from vireid.boundary import checkpoint
from vireid.cli import main
from vireid.exchange.evaluation import score_checkpoint
from vireid.launch.launch import train
from vireid.runtime.batch_norm import synchronize_norms
from vireid.runtime.gather import gather, mean_of
from vireid.runtime.processes import gather_objects, world
from vireid.synth import synthesize

SCRIPT = Path(__file__).parents[1] / 'fixtures' / 'two_processes.py'


@pytest.fixture(scope='module')
def script() -> ModuleType:
    """What the processes do, to do it here in one."""
    spec = importlib.util.spec_from_file_location('two_processes', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory, script: ModuleType) -> Path:
    """What two processes leave of every task; they are started once, since that takes longest."""
    folder = tmp_path_factory.mktemp('processes')
    synthesize(folder / 'people', layout='sysu', ids=10, seed=0, images=1, workers=1)
    launcher = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', str(SCRIPT)]
    shutil.copytree(folder / 'people', folder / 'damaged')
    for sample in script.made(str(folder / 'damaged'), 1).build_dataset().split('train'):
        if sample.camera == 1:
            Path(sample.path).write_bytes(b'no image')
    tasks = [*script.GRADIENTS, 'watched', 'train', 'mishaps', 'extract']
    words = [*launcher, str(folder / 'people'), str(folder), *tasks]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    (folder / 'die').touch()
    ended = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr[-3000:]
    (folder / 'stderr.txt').write_text(ended.stderr)
    return folder


def read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize('task', ['whole', 'parts', 'turns'])
def test_half_a_batch_each_gives_the_loss_and_the_gradients_of_the_whole(folder, script, task):
    """Of four identities the first process has two; in two parts, the first parts are the first and the third."""
    order = [0, 2, 1, 3] if task == 'parts' else None
    whole = script.gradients(str(folder / 'people'), order=order, **script.GRADIENTS[task])
    first, second = (read(folder / f'{task}-{rank}.pt') for rank in (0, 1))
    assert first['losses'] == pytest.approx(whole['losses'], abs=1e-6)  # as records have them, in float32
    assert first['losses'] == second['losses']
    assert first['weights'] == second['weights']
    assert whole['gradients'].keys() == first['gradients'].keys()
    assert any(name.startswith('weighter.') for name in whole['gradients']) == (task != 'turns')
    for name, gradient in whole['gradients'].items():
        torch.testing.assert_close(first['gradients'][name], gradient, atol=1e-12, rtol=1e-9, msg=name)
    for kind in ('model', 'average') if task != 'turns' else ('model',):
        for name, value in first[kind].items():
            assert torch.equal(value, second[kind][name]), name
            torch.testing.assert_close(value, whole[kind][name], atol=1e-9, rtol=1e-7, msg=name)
    if task != 'turns':
        assert any(not torch.equal(value, first['average'][name]) for name, value in first['model'].items())


@pytest.fixture(scope='module')
def alone(folder: Path, script: ModuleType) -> Path:
    train(script.made(str(folder / 'people'), 1), folder / 'run-alone')
    return folder / 'run-alone'


def test_a_run_of_two_processes_is_scored_as_one_and_written_once(folder, script, alone):
    run = folder / 'run-two'
    lines = {at: [json.loads(line) for line in (at / 'metrics.jsonl').read_text().splitlines()] for at in (alone, run)}
    assert [line['step'] for line in lines[run]] == [line['step'] for line in lines[alone]]  # none twice
    # the first step alone: Adam turns the rounding of a gradient near zero into a step of full length; what an update
    # does is compared above, in float64
    assert lines[run][0]['loss'] == pytest.approx(lines[alone][0]['loss'], rel=1e-4)
    assert lines[run][0]['weights'] == lines[alone][0]['weights']
    assert (run / 'result.json').exists()
    # the weights of the two, scored here by one process, have the metrics that the two gave
    made = script.made(str(folder / 'people'), 1)
    scored = score_checkpoint(made, run / 'checkpoints' / 'best.pt', folder / 'scored')
    assert json.loads((run / 'result.json').read_text())['rows'] == json.loads(json.dumps(scored.to_dict()))['rows']
    assert checkpoint.load(run / 'checkpoints' / 'last.pt')['progress']['step'] == lines[alone][-1]['step']


def test_two_processes_embed_what_one_does_whatever_trained_the_model(folder, script):
    """The checkpoint is of a run of two processes; embedding takes one, unless told otherwise."""
    assert main(script.extract(str(folder / 'people'), folder, 'one.npz')) == 0
    one, two = (np.load(folder / f'{name}.npz') for name in ('one', 'two'))
    assert len(one['features']) == len(one['path']) > 0
    for name in one.files:
        assert np.array_equal(one[name], two[name]), name


def test_images_that_one_process_did_without_are_in_the_result_of_all(folder):
    told = re.findall(r'warning: (\S+) cannot be read', (folder / 'stderr.txt').read_text())
    found = json.loads((folder / 'run-mishaps' / 'result.json').read_text())['unreadable']
    assert sorted(found) == sorted(set(told))
    assert len({Path(path).parent for path in found}) > 2  # more identities than one process has


def test_a_loader_process_that_dies_while_one_process_scores_holds_nobody_up(folder):
    assert not (folder / 'die').exists()
    assert (folder / 'stderr.txt').read_text().count('a loader process died') == 1
    assert (folder / 'run-mishaps' / 'result.json').exists()


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux lists the connections of a process')
def test_a_connection_to_a_machine_without_an_answer_ends(folder):
    """What follows from it: `benchmarks/two_hosts.py --only lost`."""
    assert all(int((folder / f'watched-{rank}').read_text()) >= 1 for rank in (0, 1))


@pytest.mark.long
def test_one_of_two_processes_killed_changes_nothing(monkeypatch, capfd):
    """A kill in every phase; the long version: `benchmarks/faults.py --processes 2`."""
    monkeypatch.setattr(sys, 'argv', ['faults.py', '--kills', '4', '--processes', '2'])
    threads = torch.get_num_threads()
    try:
        status = faults.main()  # the two are forked
    finally:
        torch.set_num_threads(threads)
    out, err = capfd.readouterr()
    assert status == 0, out + err[-3000:]
    assert '4 of 4 killed runs ended as the uninterrupted one, bit for bit' in out


def test_in_one_process_nothing_changes():
    x = torch.randn(4, 3)
    assert world() == (0, 1)
    assert gather(x) is x
    assert mean_of({'a': x}) == {'a': x}
    assert gather_objects(3) == [3]
    norm, own = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    own.load_state_dict(norm.state_dict())
    synced = synchronize_norms(nn.Sequential(own))
    assert list(synced.state_dict()) == [f'0.{name}' for name in norm.state_dict()]
    torch.testing.assert_close(synced(x), norm(x))
    torch.testing.assert_close(synced[0].running_var, norm.running_var)
    torch.testing.assert_close(synced.eval()(x), norm.eval()(x))
