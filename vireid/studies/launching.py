"""Runs of a study in separate processes: several at once on this machine, or on a cluster."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.table import Table

from vireid.boundary import config_text
from vireid.boundary.reading import open_regular
from vireid.boundary.showing import one_line
from vireid.boundary.writing import write_whole
from vireid.console.terminal import Terminal
from vireid.console.wording import counted
from vireid.core.config.experiment import Experiment
from vireid.errors import DamagedFile, VireidError, WrongContent
from vireid.launcher_types import JobCommand, JobState
from vireid.plugin_manager.manager import PluginManager, create_manager
from vireid.reporting import result_file
from vireid.runtime.lock import exclusive
from vireid.runtime.signals import Interrupted, Stop, interruptible
from vireid.studies.jobs import Job, finish

JOB, OUTPUT = 'job.yaml', 'output.log'
POLL, EVERY = 0.5, 60.0  # seconds between two checks of the runs, and between two lines if there is no terminal
TAIL = 4000  # bytes at the end of an output


def finish_all(
    jobs: Sequence[Job],
    launcher: Any,
    folder: Path,
    data_may_move: bool = False,
    log: Callable[[str], None] = print,
    warn: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Finishes runs with a launcher, or one after the other in this process; a failed run does not stop the others.

    Args:
        jobs: the runs.
        launcher: a component of the kind `launchers`, or None for this process.
        folder: the folder of the study; with a launcher, one command at a time may use it.
        data_may_move: see `finish`.
        log: called with a line for each run.
        warn: called with a line for each damaged checkpoint.

    Returns:
        What `finish` returns, for each run.

    Raises:
        VireidError: when all runs have ended, with the reason of each failure.
        Interrupted: after Ctrl-C, once all checkpoints are written.
    """
    launched: dict[str, str] = {}
    if launcher is not None:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder):
            launched = _launch([j for j in jobs if result_file.read(j.folder) is None], launcher, data_may_move, log)
    failed = {label: reason for label, reason in launched.items() if reason}
    results = []
    for job in jobs:
        if job.label in failed:
            continue
        try:
            logged = job.label in launched  # when it ended
            results.append(finish(job, data_may_move, log=(lambda _: None) if logged else log, warn=warn))
        except VireidError as error:
            if len(jobs) == 1:
                raise
            log(f'{job.label}: failed')
            failed[job.label] = str(error)
    if failed:
        raise VireidError(
            f'{len(failed)} of {counted(len(jobs), "run")} failed:\n'
            + '\n'.join(f'    {label}: {reason}' for label, reason in failed.items()),
            todo='fix the cause, and repeat the same command; it keeps finished runs',
        )
    return results


def _launch(jobs: Sequence[Job], launcher: Any, data_may_move: bool, log: Callable[[str], None]) -> dict[str, str]:
    """Launches runs and waits until all have ended; returns why each failed, by label; empty for success."""
    if not jobs:
        return {}
    commands = [_command(job, data_may_move) for job in jobs]
    stop, board = Stop(), Board(log)
    with interruptible(stop), board:
        launcher.submit(commands)
        states = launcher.states()
        stopping = False
        while any(state.status != 'ended' for state in states):
            if stop and not stopping:
                stopping = launcher.stop()
                log(f'stopping; {"each run saves a checkpoint" if stopping else "runs continue without this command"}')
                if not stopping:
                    break
            if stopping and all(state.status != 'running' for state in states):
                break
            board.show(commands, states)
            time.sleep(POLL)
            states = launcher.states()
        board.show(commands, states)
    if stop:
        raise Interrupted(jobs[0].folder, stop.number or 0)
    return {c.label: _reason(c, s) if s.exit else '' for c, s in zip(commands, states, strict=True)}


def _command(job: Job, data_may_move: bool) -> JobCommand:
    """Writes the file of a job, and returns the command that finishes it."""
    job.folder.mkdir(parents=True, exist_ok=True)
    stages = [job]
    while (before := stages[0].before) is not None:
        stages.insert(0, before)
    manager = job.experiment.manager
    assert isinstance(manager, PluginManager)
    content = {
        'data_may_move': data_may_move,
        'plugins': [str(Path(file).resolve()) for file in job.experiment.plugins],
        'disabled': [plugin.name for plugin in manager.plugins if plugin.status == 'disabled'],
        'runs': [
            {'label': stage.label, 'folder': str(stage.folder.resolve()), 'config': stage.experiment.to_config()}
            for stage in stages
        ],
    }
    file = (job.folder / JOB).resolve()
    write_whole(file, config_text.dump(content))
    devices = job.experiment.training.devices
    words = (sys.executable, '-m', 'vireid.cli.job', str(file))
    return JobCommand(job.label, words, file.parent / OUTPUT, devices if isinstance(devices, int) else 1)


def read_job(file: Path) -> tuple[Job, bool]:
    """Returns the job that `file` describes, and whether its data may have moved; imports its plugin files.

    Raises:
        VireidError: if the file is damaged, or its plugins are missing.
    """
    content = config_text.read_record(file)
    try:
        manager = create_manager(content['plugins'], disabled=content['disabled'])
        job: Job | None = None
        for run in content['runs']:
            experiment = Experiment.from_config(run['config'], manager)
            job = Job(run['label'], experiment, Path(run['folder']), job)
        may_move = bool(content['data_may_move'])
    except (KeyError, TypeError) as error:
        raise DamagedFile(f'{file} does not describe a run', todo='repeat the command that wrote it') from error
    if job is None:
        raise WrongContent(f'{file} has no runs', todo='repeat the command that wrote it')
    return job, may_move


def read_end(file: Path) -> list[str]:
    """Returns the last lines of an output, printable and without blank lines; none if it cannot be read."""
    try:
        with open_regular(file) as output:
            size = output.seek(0, 2)
            output.seek(max(0, size - TAIL))
            text = output.read(TAIL).decode('utf-8', 'replace')
    except OSError:  # not written yet
        return []
    lines = [one_line(line).strip() for line in re.split(r'[\r\n]+', text)]
    return [line for line in lines if line]


def _reason(command: JobCommand, state: JobState) -> str:
    """Returns why a run failed: its error message, or the signal that ended it."""
    lines = read_end(command.output)
    starts = [number for number, line in enumerate(lines) if re.match(r'error: |[\w.]*(Error|Exception)\b', line)]
    exit_status = state.exit or 0
    if starts and 0 <= exit_status <= 128:
        reason = ' '.join(' '.join(lines[starts[-1] :]).split()).removeprefix('error: ')
    elif abs(exit_status) == 9 or exit_status == 137:
        reason = 'killed; if memory ran out, run fewer at once: --jobs'
    elif exit_status < 0 or exit_status > 128:
        reason = f'stopped by signal {exit_status - 128 if exit_status > 0 else -exit_status}'
    else:
        reason = f'ended with status {exit_status}'
    return f'{reason} (see {command.output})'


class Board:
    """Shows the state of all runs: a line when one ends, and a live table on a terminal.

    Elsewhere also a line when one starts, and one every minute.

    Args:
        log: called with each line.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log, self._terminal = log, Terminal()
        self._live = Live(console=self._terminal, transient=True, auto_refresh=False)
        self._shown: dict[str, str] = {}
        self._last = time.monotonic()

    def __enter__(self) -> Board:
        if self._terminal.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._live.stop()

    def show(self, commands: Sequence[JobCommand], states: Sequence[JobState]) -> None:
        """Shows the current states."""
        terminal = self._terminal.is_terminal
        for command, state in zip(commands, states, strict=True):
            news = state.place if state.status == 'running' else state.status
            if self._shown.get(command.label, 'waiting') == news:
                continue
            self._shown[command.label] = news
            if state.status == 'ended':
                self._log(f'{command.label}: failed' if state.exit else (read_end(command.output) or [''])[-1])
            elif state.status == 'running' and not terminal:
                self._log(f'{command.label}: started, {state.place}')
        if terminal:
            self._live.update(_table(commands, states, self._terminal.height - 4), refresh=True)
        elif time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            counts = Counter(state.status for state in states)
            self._log(', '.join(f'{counts[status]} {status}' for status in ('ended', 'running', 'waiting')))


def _table(commands: Sequence[JobCommand], states: Sequence[JobState], height: int) -> Table:
    """Returns the table of the runs: those that run first, and as many as fit."""
    table = Table(box=None, pad_edge=False)
    for title in ('run', 'state', 'where', 'progress'):
        table.add_column(title, no_wrap=True, overflow='ellipsis')
    rank = {'running': 0, 'ended': 1, 'waiting': 2}
    pairs = sorted(zip(commands, states, strict=True), key=lambda pair: (rank[pair[1].status], not pair[1].exit))
    for command, state in pairs[:height]:
        status = state.status if not state.exit else 'failed'
        last = read_end(command.output)[-1:] if state.status != 'waiting' else []
        table.add_row(
            command.label, status, state.place, *(line.removeprefix(command.label).lstrip(': ') for line in last)
        )
    if len(pairs) > height:
        table.add_row(f'and {len(pairs) - height} more')
    return table
