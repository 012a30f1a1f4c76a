"""The runs of a study by a launcher: only unfinished ones, each failure told, all stopped together."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest

from vireid.cli import main
from vireid.core.config.same_run import changes
from vireid.errors import DamagedFile, InUse, VireidError, WrongContent
from vireid.launcher_types import JobState
from vireid.plugin_manager.manager import create_manager
from vireid.runtime.signals import Interrupted
from vireid.studies import launching
from vireid.studies.jobs import Job
from vireid.studies.launching import finish_all, read_end, read_job


class Instant:
    """A launcher whose commands end at once, each with its own exit status and output; `stop` ends those that run.

    Args:
        outcomes: per command, the exit status, or None for one that runs until it is stopped, and the output.
        goes_on: whether the commands go on without this process.
    """

    def __init__(self, *outcomes, goes_on=False):
        self.outcomes, self.goes_on, self.commands, self.stopped = list(outcomes), goes_on, (), False

    def submit(self, commands):
        self.commands = commands
        for command, (_, output) in zip(commands, self.outcomes, strict=True):
            command.output.write_text(output)

    def states(self):
        if any(status is None for status, _ in self.outcomes) and not self.stopped:
            os.kill(os.getpid(), signal.SIGINT)
        return [
            JobState('ended', exit=143 if status is None else status)
            if status is not None or self.stopped
            else JobState('running', 'somewhere')
            for status, _ in self.outcomes
        ]

    def stop(self):
        self.stopped = not self.goes_on
        return not self.goes_on


@pytest.fixture
def jobs(make_tiny, small_sysu, tmp_path) -> list[Job]:
    """Three runs that differ in their seed."""
    return [Job(f's{n}', make_tiny(small_sysu, f'seed={n}'), tmp_path / f's{n}') for n in range(3)]


@pytest.fixture
def finished(monkeypatch) -> list[str]:
    """The labels of the runs that are finished in this process, which takes no time; `s1` fails if it comes last."""
    found = []

    def finish(job, *_, **__):
        if job.label in found:
            raise VireidError('finished twice')
        found.append(job.label)
        return {'label': job.label}

    monkeypatch.setattr(launching, 'finish', finish)
    return found


def test_results_are_in_the_order_of_the_runs(jobs, finished, tmp_path):
    launcher = Instant((0, ''), (0, ''), (0, ''))
    results = finish_all(jobs, launcher, tmp_path)
    assert [r['label'] for r in results] == ['s0', 's1', 's2']
    assert [c.label for c in launcher.commands] == ['s0', 's1', 's2']


def test_finished_runs_are_not_launched(jobs, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(launching.result_file, 'read', lambda folder: {} if folder.name == 's1' else None)
    launcher = Instant((0, ''), (0, ''))
    assert len(finish_all(jobs, launcher, tmp_path)) == 3
    assert [c.label for c in launcher.commands] == ['s0', 's2']


@pytest.mark.parametrize(
    ('status', 'output', 'fact'),
    [
        (2, 'step 3\nerror: no space\n  next:    free some\n', 'no space next: free some'),
        (1, 'Traceback (most recent call last):\nValueError: odd\n', 'ValueError: odd'),
        (1, 'torch.OutOfMemoryError: CUDA out of memory\n', 'torch.OutOfMemoryError: CUDA out of memory'),
        (-9, 'step 3\n', '--jobs'),
        (137, 'error: an earlier one\n', '--jobs'),
        (-15, 'step 3\n', ' 15 '),
        (143, 'stopped; repeat the same command to resume\n', ' 15 '),
        (7, '', ' 7 '),
    ],
)
def test_a_failure_is_reported_and_the_other_runs_finish(jobs, finished, tmp_path, status, output, fact):
    with pytest.raises(VireidError) as error:
        finish_all(jobs, Instant((0, ''), (status, output), (0, '')), tmp_path)
    place = tmp_path / 's1' / 'output.log'
    first, second = error.value.given.split('\n')
    assert '1 of 3 ' in first
    assert second.startswith('    s1: ')
    assert fact in second
    assert str(place) in second
    assert finished == ['s0', 's2']


def test_without_a_launcher_too_a_failed_run_does_not_stop_the_others(jobs, monkeypatch, tmp_path):
    def finish(job, *_, **__):
        if job.label == 's0':
            raise VireidError('broken', todo='mend')
        return {'label': job.label}

    said = []
    monkeypatch.setattr(launching, 'finish', finish)
    with pytest.raises(VireidError, match=r'1 of 3 .*\n    s0: broken'):
        finish_all(jobs, None, tmp_path, log=said.append)
    assert said == ['s0: failed']
    with pytest.raises(VireidError) as error:
        finish_all(jobs[:1], None, tmp_path)
    assert (error.value.given, error.value.todo) == ('broken', 'mend')  # alone, it is the error


def test_ctrl_c_stops_all_and_waits_until_they_have_saved(jobs, finished, tmp_path):
    said, launcher = [], Instant((0, 'step 1\nfirst result\n'), (None, ''), (None, ''))
    with pytest.raises(Interrupted) as stopped:
        finish_all(jobs, launcher, tmp_path, log=said.append)
    assert (stopped.value.status, launcher.stopped, finished) == (130, True, [])
    assert said == [
        'stopping; each run saves a checkpoint',
        'first result',
        's1: started, somewhere',
        's2: started, somewhere',
        's1: failed',
        's2: failed',
    ]


def test_ctrl_c_leaves_what_goes_on_without_this_process(jobs, finished, tmp_path):
    said = []
    with pytest.raises(Interrupted):
        finish_all(jobs, Instant((None, ''), (None, ''), (None, ''), goes_on=True), tmp_path, log=said.append)
    assert said[0] == 'stopping; runs continue without this command'


@pytest.mark.skipif(os.name != 'posix', reason='no locks')
def test_two_commands_cannot_use_one_folder(jobs, finished, tmp_path):
    from vireid.runtime.lock import exclusive

    with exclusive(tmp_path), pytest.raises(InUse, match=re.escape(str(tmp_path))):
        finish_all(jobs, Instant((0, ''), (0, ''), (0, '')), tmp_path)


def test_a_command_describes_its_run(make_small, small_sysu, tmp_path, finished):
    """Also its stages, in order, and its plugins."""
    plugin = tmp_path / 'mine.py'
    plugin.write_text('import vireid\n\n@vireid.hookimpl\ndef step_ended(run): pass\n')
    manager = create_manager([plugin])
    options = [f'plugins=[{str(plugin)!r}]', 'images.size=(64, 32)']
    stage, last = (make_small(small_sysu, *options, f'seed={seed}', manager=manager) for seed in (1, 2))
    before = Job('first', stage, tmp_path / 'run' / 'stage1')
    launcher = Instant((0, ''))
    finish_all([Job('last', last, tmp_path / 'run', before)], launcher, tmp_path, data_may_move=True)
    (command,) = launcher.commands
    assert command.words == (sys.executable, '-m', 'vireid.cli.job', str(tmp_path / 'run' / 'job.yaml'))
    assert command.output == tmp_path / 'run' / 'output.log'
    job, data_may_move = read_job(tmp_path / 'run' / 'job.yaml')
    assert (job.label, job.folder, data_may_move) == ('last', tmp_path / 'run', True)
    assert (job.before.label, job.before.folder) == ('first', before.folder)
    assert changes(job.experiment, last) == changes(job.before.experiment, stage) == {}
    assert list(changes(job.experiment, stage)) == ['seed']
    assert job.before.before is None
    assert str(plugin) in [info.name for info in job.experiment.manager.plugins]


def test_a_damaged_description_is_refused(tmp_path):
    for text in ('{}', 'plugins: []\ndisabled: []\nruns: []\ndata_may_move: true', 'plugins: 3'):
        (tmp_path / 'job.yaml').write_text(text)
        with pytest.raises((DamagedFile, WrongContent), match=r'job\.yaml'):
            read_job(tmp_path / 'job.yaml')


def test_the_end_of_an_output(tmp_path):
    file = tmp_path / 'output.log'
    assert read_end(file) == []
    file.write_bytes(b'x' * 10_000 + b'\n\nbar 1\rbar 2\r\n\x1b[31mred \xff\n')
    assert read_end(file)[-3:] == ['bar 1', 'bar 2', '\\x1b[31mred \ufffd']
    assert sum(map(len, read_end(file))) <= launching.TAIL + 10


STAGE = """
_base_ = 'vireid::tffn_sysu.py'
training = dict(epochs=None, steps=2, checkpoint_every=1, precision='32-true')
images = dict(size=(32, 16), workers=0)
model = dict(
    backbone=dict(depth=18, weights=None, out_stages=(2, 3)),
    necks=dict(s2=dict(channels=64), s3=dict(channels=64), s4=dict(inputs='stage3', channels=64)),
)
sampler = dict(identities=2, visible=2, infrared=2)
protocol = dict(trials=1)
loggers = [dict(type='MetricsFile')]
"""
SECOND = "_base_ = 'first.py'\nstages = ['first.py']\nplugins = ['killer.py']\n"
OTHER = "_base_ = 'first.py'\ntraining = dict(steps=3)\n"
KILLER = """
import os, signal, vireid

@vireid.hookimpl
def step_ended(run, progress):
    if os.environ.get('KILL') and run.work_dir.name == 'seed_0' and progress.step == 1:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.long
@pytest.mark.skipif(os.name != 'posix', reason='no SIGKILL')
def test_two_at_once_give_the_results_of_one_after_the_other(small_sysu, tmp_path, monkeypatch, capsys):
    """Although one was killed in between, after its first stage; what had finished is not trained again."""
    import torch

    files = {'first': STAGE, 'second': SECOND, 'other': OTHER, 'killer': KILLER}
    for name, text in files.items():
        (tmp_path / f'{name}.py').write_text(text)
    threads = torch.get_num_threads()
    monkeypatch.setenv('VIREID_CORES', '2')  # one thread each
    configs = [str(tmp_path / 'second.py'), str(tmp_path / 'other.py')]
    command = ['compare', *configs, '--seeds', '0', '--data-root', str(small_sysu), '--allow-differences']
    launched = [*command, '--work-dir', str(tmp_path / 'launched'), '--jobs', '2']
    monkeypatch.setenv('KILL', '1')
    assert main(launched) == 2
    assert '1 of 2 runs failed:\n    second seed 0: killed' in capsys.readouterr().err
    result = tmp_path / 'launched' / 'other' / 'seed_0' / 'result.json'
    stage = tmp_path / 'launched' / 'second' / 'seed_0' / 'stage1_first' / 'result.json'
    before = [path.stat().st_mtime_ns for path in (result, stage)]
    monkeypatch.delenv('KILL')
    assert main(launched) == 0
    assert [path.stat().st_mtime_ns for path in (result, stage)] == before
    try:
        torch.set_num_threads(1)
        assert main([*command, '--work-dir', str(tmp_path / 'here')]) == 0
    finally:
        torch.set_num_threads(threads)
    for name in ('second/seed_0', 'other/seed_0', 'second/seed_0/stage1_first'):
        ours, theirs = ((tmp_path / place / name / 'metrics.jsonl').read_text() for place in ('launched', 'here'))
        assert ours == theirs, name


def test_a_single_run_has_no_jobs(small_sysu, capsys):
    assert main(['train', 'vireid::tffn_sysu.py', '--data-root', str(small_sysu), '--jobs', '2']) == 2
    assert 'error: --jobs trains several runs at once, but this is a single run' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--launcher', 'slrum'], "did you mean 'slurm'"),
        (['--launcher', 'slurm', 'partitoin=gpu'], "did you mean 'partition'"),
        (['--launcher', 'slurm', 'hours=-1'], 'hours is -1'),
        (['--launcher', 'local', 'jobs=2'], 'jobs'),
        (['--jobs', '0'], "'0' is not a number from 1 to 1,000"),
        (['--jobs', '64'], '64 jobs at once, but this machine has 2 CPU cores'),
    ],
)
def test_wrong_launchers_are_refused_before_anything_is_read(small_sysu, tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.setenv('VIREID_CORES', '2')
    command = ['compare', 'vireid::systems/one_stream.py', 'vireid::systems/two_stream.py', '--seeds', '0']
    command += ['--data-root', str(small_sysu), '--work-dir', str(tmp_path / 'out'), *flags]
    try:
        status = main(command)
    except SystemExit as ended:
        status = ended.code
    assert (status, message in capsys.readouterr().err) == (2, True)
    assert not (tmp_path / 'out').exists()
