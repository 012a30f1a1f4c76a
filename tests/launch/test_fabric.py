"""Where a run takes place: what launchers started against what the config asks for."""

from __future__ import annotations

import pytest

from vireid.core.config.experiment import Experiment, check_config
from vireid.core.errors import VireidError
from vireid.launch.fabric import make_fabric
from vireid.plugin_manager.manager import create_manager


def experiment(**training) -> Experiment:
    config = {'accelerator': 'cpu', 'steps': 1, **training}
    return Experiment({}, {}, {'size': (8, 4), 'train': [], 'test': []}, {}, {}, {}, config, manager=create_manager())


@pytest.mark.parametrize(
    ('training', 'local', 'world', 'todo'),
    [
        ({}, 2, 2, '--devices 2'),
        ({'devices': 3}, 2, 2, '--devices 2'),
        ({'devices': 2}, 2, 4, '--devices 2 --cfg-options training.nodes=2'),
        ({'devices': 2, 'nodes': 2}, 4, 4, '--devices 4 --cfg-options training.nodes=1'),
    ],
)
def test_other_processes_than_torchrun_started_are_refused(monkeypatch, training, local, world, todo):
    for name, value in {'TORCHELASTIC_RUN_ID': 'x', 'LOCAL_WORLD_SIZE': local, 'WORLD_SIZE': world}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(VireidError) as caught:
        make_fabric(experiment(**training).training_settings)
    assert f'torchrun started {local} processes on each of {world // local} machines' in caught.value.given
    assert caught.value.todo == todo


def test_tasks_of_srun_that_train_alone_are_told(monkeypatch, capsys):
    monkeypatch.setenv('SLURM_STEP_NUM_TASKS', '10')
    assert make_fabric(experiment().training_settings).world_size == 1  # a trial each, say
    assert 'srun started 10 tasks; each is a run of its own, since --devices is 1' in capsys.readouterr().err
    monkeypatch.setenv('SLURM_STEP_NUM_TASKS', '1')
    make_fabric(experiment().training_settings)
    assert capsys.readouterr().err == ''


def test_what_the_machine_cannot_do_is_said_with_what_was_asked():
    with pytest.raises(VireidError, match="accelerator 'cuda', devices 1, precision '32-true' do not work here"):
        make_fabric(experiment(accelerator='cuda').training_settings)


def test_sharding_is_refused_with_a_word_why():
    problems = check_config({'training': {'steps': 1, 'strategy': 'fsdp'}}, create_manager())
    (problem,) = [p for p in problems if 'fsdp' in p.given]
    assert problem.given.startswith("training.strategy is 'fsdp': no network of this field outgrows a GPU")
    assert problem.allowed == "'auto', 'ddp'"


def test_several_machines_need_a_launcher(monkeypatch):
    for name in ('TORCHELASTIC_RUN_ID', 'SLURM_NTASKS', 'MASTER_ADDR'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(VireidError, match=r'training\.nodes is 2 and nothing says where the other machines are'):
        make_fabric(experiment(nodes=2).training_settings)
