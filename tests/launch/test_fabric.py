"""Where a run takes place: what launchers started against what the config asks for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment
from torch import distributed as dist

from vireid.core.config.experiment import Experiment, check_config
from vireid.errors import Mismatch, Unavailable, WrongValue
from vireid.launch.fabric import MAX_WAIT, _find_environment, make_fabric
from vireid.launch.preflight import preflight
from vireid.plugin_manager.manager import create_manager


def experiment(**training) -> Experiment:
    config = {'accelerator': 'cpu', 'steps': 1, **training}
    empty = {key: {} for key in ('dataset', 'protocol', 'sampler', 'model', 'step')}
    images = {'size': (8, 4), 'train': [], 'test': []}
    return Experiment.unchecked({**empty, 'images': images, 'training': config}, create_manager())


@pytest.mark.parametrize(
    ('training', 'local', 'world', 'todo'),
    [
        ({}, 2, 2, '--cfg-options training.devices=2'),
        ({'devices': 3}, 2, 2, '--cfg-options training.devices=2'),
        ({'devices': 2}, 2, 4, '--cfg-options training.devices=2 training.nodes=2'),
        ({'devices': 2, 'nodes': 2}, 4, 4, '--cfg-options training.devices=4 training.nodes=1'),
    ],
)
def test_other_processes_than_torchrun_started_are_refused(monkeypatch, training, local, world, todo):
    for name, value in {'TORCHELASTIC_RUN_ID': 'x', 'LOCAL_WORLD_SIZE': local, 'WORLD_SIZE': world}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(Mismatch, match=rf'torchrun .*\b{local} processes .*\b{world // local} machines') as caught:
        make_fabric(experiment(**training).training)
    assert caught.value.todo == todo


def test_a_variable_that_torchrun_left_behind_starts_nothing(monkeypatch):
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'x')
    assert make_fabric(experiment().training).world_size == 1


BATCH = {'SLURM_JOB_ID': 1, 'SLURM_NTASKS': 4, 'SLURM_NODELIST': 'node1', 'SLURM_PROCID': 0, 'SLURM_LOCALID': 0}


def in_slurm(monkeypatch: pytest.MonkeyPatch, **variables: object) -> None:
    for name in ('SLURM_NTASKS_PER_NODE', 'SLURM_NNODES', 'SLURM_STEP_NUM_TASKS', 'MASTER_ADDR', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**BATCH, 'SLURM_NODEID': 0, **variables}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize(
    'variables',
    [
        {'SLURM_JOB_NAME': 'jupyterhub'},
        {'SLURM_JOB_NAME': 'bash'},
        {'SLURM_JOB_NAME': 'train', 'SLURM_NTASKS_PER_NODE': 2, 'SLURM_NNODES': 2},  # a script of sbatch, without srun
        {'SLURM_NTASKS': 1, 'SLURM_STEP_NUM_TASKS': 1, 'SLURM_NTASKS_PER_NODE': 8},  # srun -n1
    ],
)
def test_one_process_in_a_job_of_slurm_trains_alone(monkeypatch, capsys, variables):
    in_slurm(monkeypatch, **variables)
    assert make_fabric(experiment().training).world_size == 1
    assert isinstance(_find_environment(2, 1), LightningEnvironment)  # which starts the second process itself
    assert capsys.readouterr().err == ''


def test_tasks_that_srun_started_are_the_processes_of_a_run_whatever_the_job_is(monkeypatch):
    """A step of 2 x 2 tasks in a job of 16."""
    step = {'SLURM_STEP_NUM_TASKS': 4, 'SLURM_STEP_NUM_NODES': 2, 'SLURM_NTASKS': 16, 'SLURM_PROCID': 3}
    in_slurm(monkeypatch, SLURM_JOB_NAME='interactive', SLURM_NTASKS_PER_NODE=8, SLURM_NNODES=2, **step)
    found = _find_environment(2, 2)
    assert isinstance(found, SLURMEnvironment)
    assert (found.world_size(), found.global_rank()) == (4, 3)
    found.validate_settings(num_devices=2, num_nodes=2)
    with pytest.raises(Mismatch, match=r'srun .*\b2 processes .*\b2 machines') as caught:
        _find_environment(4, 1)
    assert caught.value.todo == '--cfg-options training.devices=2 training.nodes=2'


def test_tasks_of_srun_that_train_alone_are_told(monkeypatch, capsys):
    in_slurm(monkeypatch, SLURM_STEP_NUM_TASKS=10)
    assert make_fabric(experiment().training).world_size == 1  # a trial each, say
    assert 'srun launched 10 tasks; each is a separate run, since --devices is 1' in capsys.readouterr().err


def test_the_check_of_a_step_is_not_taken_for_a_process_of_slurm_s(monkeypatch, small_sysu, make_tiny):
    in_slurm(monkeypatch, SLURM_JOB_NAME='train')
    preflight(make_tiny(small_sysu))


def test_what_the_machine_cannot_do_is_said_with_what_was_asked():
    with pytest.raises(Unavailable, match="'cuda', devices 1, precision '32-true'"):
        make_fabric(experiment(accelerator='cuda').training)


def test_sharding_is_refused_with_a_word_why():
    problems = check_config({'training': {'steps': 1, 'strategy': 'fsdp'}}, create_manager())
    (problem,) = [p for p in problems if 'fsdp' in p.given]
    assert isinstance(problem, WrongValue)
    assert problem.allowed == "'auto', 'ddp'"


def test_processes_wait_ten_minutes_for_each_other_not_thirty(monkeypatch):
    monkeypatch.setattr(Fabric, 'launch', lambda self: None)
    made = make_fabric(experiment(devices=2).training)
    assert made.strategy._timeout == MAX_WAIT == timedelta(minutes=10)


def test_processes_that_do_not_meet_are_told_where_and_what_to_check(monkeypatch):
    def launch(self):
        raise dist.DistStoreError('Timed out after 601 seconds waiting for clients. 1/2 clients joined.')

    monkeypatch.setattr(Fabric, 'launch', launch)
    monkeypatch.setenv('MASTER_ADDR', 'node1')
    monkeypatch.setenv('MASTER_PORT', '29500')
    with pytest.raises(Unavailable, match=r'node1:29500: .* 1/2 ') as caught:
        make_fabric(experiment(devices=2).training)
    assert 'GLOO_SOCKET_IFNAME' in caught.value.todo


def test_other_errors_of_starting_are_not_taken_for_it(monkeypatch):
    def launch(self):
        raise RuntimeError('driver')

    monkeypatch.setattr(Fabric, 'launch', launch)
    with pytest.raises(RuntimeError, match='driver'):
        make_fabric(experiment().training)


def test_several_machines_need_a_launcher(monkeypatch):
    monkeypatch.delenv('TORCHELASTIC_RUN_ID', raising=False)
    in_slurm(monkeypatch)
    with pytest.raises(Unavailable, match=r'training\.nodes is 2') as caught:
        make_fabric(experiment(nodes=2).training)
    assert caught.value.path == 'training.nodes'
