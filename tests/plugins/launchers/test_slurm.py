"""Commands as a job array: submitted once, preempted without loss, found again; Slurm itself is played by scripts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from vireid.errors import DamagedFile, Unavailable
from vireid.launcher_types import JobState
from vireid.plugins.launchers.slurm import Slurm, read_jobs

pytest.importorskip('submitit')
pytestmark = pytest.mark.skipif(os.name != 'posix', reason='Slurm runs on Linux')


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Commands of Slurm that note their arguments and know the states of jobs in the file `states`."""
    tools = tmp_path / 'bin'
    tools.mkdir()
    scripts = {
        'sbatch': 'cp "$1" "{0}/submitted.sh"; [ -e {0}/refuse ] && {{ cat {0}/refuse >&2; exit 1; }}; '
        'echo Submitted batch job 4711',
        'sacct': 'cat {0}/states',
        'scancel': 'echo "$@" >> {0}/cancelled',
        'srun': 'exit 1',
    }
    for name, text in scripts.items():
        path = tools / name
        path.write_text(f'#!/bin/sh\n{text.format(tmp_path)}\n')
        path.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tools}:{os.environ["PATH"]}')
    return tmp_path


def show(cluster, *states):
    """Sets the states of the jobs of the array; Slurm makes no array of a single one."""
    numbers = ['4711'] if len(states) == 1 else [f'4711_{number}' for number in range(len(states))]
    lines = ['JobID|State|NodeList', *(f'{n}|{state}|node1' for n, state in zip(numbers, states, strict=True))]
    (cluster / 'states').write_text('\n'.join(lines) + '\n')


def test_commands_run_in_jobs_of_their_own(command, tmp_path, until):
    commands = [command('print("one")'), command('import sys; print("two"); sys.exit(3)')]
    launcher = Slurm(folder=tmp_path / 'study', cluster='local', gpus=0, hours=0.1)
    launcher.submit(commands)
    assert [state.exit for state in until(launcher)] == [0, 3]
    assert [c.output.read_text() for c in commands] == ['one\n', 'two\n']


def test_a_preempted_run_saves_and_goes_on(command, tmp_path, until):
    """submitit sends a signal before the end; the command gets SIGTERM, and the job returns to the queue."""
    program = (
        'import pathlib, signal, sys, time\n'
        f'saved = pathlib.Path({str(tmp_path / "saved")!r})\n'
        'if saved.exists(): print("went on from", saved.read_text()); sys.exit()\n'
        'def save(*_): saved.write_text("step 3"); sys.exit(143)\n'
        'signal.signal(signal.SIGTERM, save)\n'
        'print("started", flush=True)\n'
        'time.sleep(100)'
    )
    own = command(program)
    launcher = Slurm(folder=tmp_path / 'study', cluster='local', gpus=0, hours=0.1)
    launcher.submit([own])
    while not own.output.read_text() if own.output.exists() else True:
        time.sleep(0.01)
    (job,) = launcher._jobs
    assert job.state == 'RUNNING'
    inner = _child(job._process.pid)
    os.kill(inner, signal.SIGUSR2)  # to the process of submitit, as Slurm does
    assert until(launcher)[0].exit == 0
    assert own.output.read_text() == 'started\nwent on from step 3\n'


def _child(number: int) -> int:
    """Returns the child of a process that has one."""
    with open(f'/proc/{number}/task/{number}/children', encoding='ascii') as file:
        return int(file.read().split()[0])


def test_the_array_is_submitted_with_the_options(cluster, command):
    launcher = Slurm(
        folder=cluster / 'study', jobs=2, partition='gpu', hours=12, cpus=6, memory=32, options={'account': 'lab'}
    )
    show(cluster, 'PENDING', 'RUNNING', 'RUNNING')
    launcher.submit([command(''), command(''), command('')])
    lines = (cluster / 'submitted.sh').read_text().splitlines()
    given = dict(
        line.removeprefix('#SBATCH --').split('=', 1) for line in lines if line.startswith('#SBATCH --') and '=' in line
    )
    wanted = {
        'array': '0-2%2', 'partition': 'gpu', 'time': '720', 'cpus-per-task': '6', 'mem': '32GB',
        'gpus-per-node': '1', 'account': 'lab', 'job-name': 'vireid', 'signal': 'USR2@90',
    }  # fmt: skip
    assert {key: given.get(key) for key in wanted} == wanted
    assert launcher.states()[:2] == [JobState('waiting', 'job 4711_0'), JobState('running', 'job 4711_1')]


def test_jobs_in_the_queue_are_found_again(cluster, command):
    """Only those that have ended are submitted."""
    show(cluster, 'RUNNING', 'FAILED', 'PENDING')
    commands = [command(''), command(''), command('')]
    Slurm(folder=cluster / 'study').submit(commands)
    (cluster / 'submitted.sh').unlink()
    again = Slurm(folder=cluster / 'study')
    again.submit([commands[0], commands[2]])
    assert not (cluster / 'submitted.sh').exists()
    assert [state.place for state in again.states()] == ['job 4711_0', 'job 4711_2']
    again = Slurm(folder=cluster / 'study')
    again.submit(commands)
    assert '--array' not in (cluster / 'submitted.sh').read_text()  # one alone


def test_jobs_stay_in_the_queue_when_the_command_is_stopped(cluster, command):
    show(cluster, 'RUNNING')
    launcher = Slurm(folder=cluster / 'study')
    launcher.submit([command('')])
    assert launcher.stop() is False
    assert not (cluster / 'cancelled').exists()


def test_what_slurm_refuses_is_told(cluster, command):
    (cluster / 'refuse').write_text('sbatch: error: invalid partition specified: gpux\n')
    with pytest.raises(Unavailable, match='gpux') as error:
        Slurm(folder=cluster / 'study', partition='gpux').submit([command('')])
    assert '--launcher slurm partition=NAME' in error.value.todo


def test_without_slurm_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', '')
    with pytest.raises(Unavailable, match='slurm') as error:
        Slurm(folder=tmp_path)
    assert '--jobs N' in error.value.todo


def test_a_job_that_never_ran_says_why(cluster, command, monkeypatch):
    from submitit.core.core import Job

    monkeypatch.setattr(Job, '_results_timeout_s', 0)  # 15 s for a file that slow storage may not show at once
    show(cluster, 'NODE_FAIL')
    launcher, own = Slurm(folder=cluster / 'study'), command('')
    launcher.submit([own])
    assert launcher.states() == launcher.states() == [JobState('ended', 'job 4711', exit=1)]
    assert own.output.read_text().count('error: job 4711 failed') == 1


@pytest.mark.parametrize('text', ['[]', '{"a": 1}', '{"a": "1; rm"}', '{"a": "../1"}', '{'])
def test_a_list_of_jobs_that_it_did_not_write_is_refused(tmp_path, text):
    path = tmp_path / 'slurm_jobs.json'
    path.write_text(text)
    with pytest.raises(DamagedFile, match=r'slurm_jobs\.json'):
        read_jobs(path)
    path.write_text(json.dumps({'/a/output.log': '12_3'}))
    assert read_jobs(path) == {'/a/output.log': '12_3'}


def test_scancel_reaches_the_command(tmp_path):
    """Slurm sends SIGTERM to the process of submitit; the command saves."""
    out = tmp_path / 'out'
    program = (
        'import signal, sys, time; signal.signal(15, lambda *_: sys.exit(143)); print(1, flush=True); time.sleep(99)'
    )
    code = (
        'import sys; from pathlib import Path; from vireid.plugins.launchers.slurm import Attempt\n'
        f'sys.exit(Attempt()([sys.executable, "-c", {program!r}], Path({str(out)!r})))'
    )

    with subprocess.Popen([sys.executable, '-c', code]) as outer:
        while not (out.exists() and out.read_text()):
            time.sleep(0.01)
        outer.send_signal(signal.SIGTERM)
        assert outer.wait(60) == 143
