"""Commands on this machine: N at once, one per GPU; they end with the process that launched them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from vireid.errors import Unavailable, WrongValue
from vireid.launcher_types import JobState
from vireid.plugins.launchers import local
from vireid.plugins.launchers.local import Local

WAIT = 'import sys; sys.stdin.read()'  # until its launcher has ended


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Four cores and no GPU."""
    monkeypatch.setattr(local, 'usable_cores', lambda: 4)
    monkeypatch.setattr(local, '_gpus', list)


def statuses(states):
    return [state.status for state in states]


def test_exit_statuses_and_output_are_kept(command, until):
    launcher = Local(jobs=2)
    commands = [command('print("one")'), command('import sys; sys.exit("two")')]
    commands[0].output.write_text('before\n')
    launcher.submit(commands)
    assert until(launcher) == [JobState('ended', exit=0), JobState('ended', exit=1)]
    assert [c.output.read_text() for c in commands] == ['before\none\n', 'two\n']


def test_commands_submitted_after_others_have_ended_run_too(command, until):
    launcher = Local(jobs=1)
    launcher.submit([command('print("start")')])
    until(launcher)
    rows = [command('print("one")'), command('import sys; sys.exit(2)')]
    launcher.submit(rows)
    assert until(launcher) == [JobState('ended', exit=0), JobState('ended', exit=2)]
    assert rows[0].output.read_text() == 'one\n'


def test_as_many_run_at_once_as_there_are_jobs(command, tmp_path, until):
    """Each waits for a file of its own."""
    wait = 'import pathlib, time\nwhile not pathlib.Path({!r}).exists(): time.sleep(0.01)'
    gates = [tmp_path / f'gate{number}' for number in range(3)]
    launcher = Local(jobs=2)
    launcher.submit([command(wait.format(str(gate))) for gate in gates])
    assert statuses(launcher.states()) == ['running', 'running', 'waiting']
    gates[1].touch()
    assert statuses(until(launcher, lambda states: states[1].status == 'ended')) == ['running', 'ended', 'running']
    gates[0].touch()
    gates[2].touch()
    until(launcher)


@pytest.mark.parametrize(('jobs', 'threads', 'each'), [(1, None, '4'), (2, None, '2'), (4, None, '1'), (3, 2, '2')])
def test_jobs_share_the_cores(command, jobs, threads, each, until):
    launcher = Local(jobs=jobs, threads=threads)
    commands = [command('import os; print(os.environ["OMP_NUM_THREADS"], os.environ["VIREID_CORES"])')]
    launcher.submit(commands)
    until(launcher)
    assert commands[0].output.read_text().split() == [each, each]


@pytest.mark.parametrize(
    ('jobs', 'devices', 'places'),
    [
        (None, 1, ['GPU 4', 'GPU 5', 'GPU 7']),
        (None, 2, ['GPU 4,5']),
        (2, 1, ['GPU 4', 'GPU 5']),
        (4, 1, ['GPU 4', 'GPU 5', 'GPU 7', 'GPU 4']),
        (2, 3, ['GPU 4,5,7', 'GPU 4,5,7']),
    ],
)
def test_each_run_has_its_gpus(monkeypatch, command, jobs, devices, places, until):
    monkeypatch.setattr(local, '_gpus', lambda: ['4', '5', '7'])
    launcher = Local(jobs=jobs)
    commands = [
        command(f'import os; print("GPU", os.environ["CUDA_VISIBLE_DEVICES"])\n{WAIT}', devices) for _ in 'abcd'
    ]
    launcher.submit(commands)
    running = [state.place for state in launcher.states() if state.status == 'running']
    assert running == places
    for _ in range(3000):
        if all(c.output.read_text().endswith('\n') for c in commands[: len(places)]):
            break
        time.sleep(0.01)
    assert [c.output.read_text().strip() for c in commands[: len(places)]] == places
    launcher.stop()
    until(launcher, lambda states: 'running' not in statuses(states))


def test_a_gpu_is_used_again(monkeypatch, command, until):
    monkeypatch.setattr(local, '_gpus', lambda: ['0', '1'])
    launcher = Local()
    commands = [command('import os; print(os.environ["CUDA_VISIBLE_DEVICES"])') for _ in range(6)]
    launcher.submit(commands)
    until(launcher)
    assert {c.output.read_text().strip() for c in commands} == {'0', '1'}


def test_stop_sends_sigterm_and_starts_no_others(command, until):
    launcher = Local(jobs=1)
    launcher.submit([command(WAIT), command(WAIT)])
    assert launcher.stop() is True
    states = until(launcher, lambda states: states[0].status == 'ended')
    assert states == [JobState('ended', exit=-signal.SIGTERM), JobState('waiting')]


def test_ctrl_c_of_the_terminal_does_not_reach_the_commands(command, until):
    launcher = Local(jobs=1)
    launcher.submit([command(f'import os; print(os.getpgid(0), flush=True)\n{WAIT}')])
    (process, _) = next(iter(launcher._running.values()))
    assert os.getpgid(process.pid) != os.getpgid(0)
    launcher.stop()
    until(launcher)


def test_commands_notice_that_their_launcher_was_killed(tmp_path):
    """Their standard input ends."""
    program = (
        'import sys, time; from pathlib import Path\n'
        'from vireid.launcher_types import JobCommand; from vireid.plugins.launchers.local import Local\n'
        f'out = Path({str(tmp_path / "out")!r})\n'
        f'words = (sys.executable, "-c", {WAIT + "; print(1)"!r})\n'
        'launcher = Local(); launcher.submit([JobCommand("x", words, out)])\n'
        'print(flush=True); time.sleep(1000)'
    )
    with subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        parent.kill()
    for _ in range(3000):
        if (tmp_path / 'out').read_text():
            return
        time.sleep(0.01)
    raise AssertionError('it goes on')


def test_more_jobs_than_cores_are_refused():
    with pytest.raises(WrongValue, match=r'64 .* 4 ') as error:
        Local(jobs=64)
    assert (error.value.allowed, error.value.todo) == ('1 to 4', '--jobs 4')


def test_a_run_with_more_gpus_than_there_are_is_refused(monkeypatch, command):
    monkeypatch.setattr(local, '_gpus', lambda: ['0', '1'])
    with pytest.raises(Unavailable, match=r' 3 .* 2\n'):
        Local().submit([command(WAIT, devices=3)])
