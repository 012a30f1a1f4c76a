"""Runs that a command makes one after the other: each in a folder of its own, finished ones passed over."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vireid.core.errors import VireidError
from vireid.core.plugins import hookimpl

if TYPE_CHECKING:
    from vireid.core.experiment import Experiment


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        label: what a line about it begins with.
        experiment: what is trained.
        folder: where.
    """

    label: str
    experiment: Experiment
    folder: Path


def without_console(config: dict[str, Any]) -> None:
    """Takes the console logger out of a config: the command that makes several runs has a bar of its own."""
    if isinstance(config.get('loggers'), list):
        config['loggers'] = [c for c in config['loggers'] if not (isinstance(c, dict) and c.get('type') == 'Console')]


def try_to_build(experiment: Experiment) -> None:
    """Builds what can be built without data."""
    experiment.build_model(2, pretrained=False)
    for part in ('train', 'test'):
        experiment.build_transform(part)
    experiment.build_protocol()
    experiment.build_reranker()


def finish(job: Job) -> dict[str, Any]:
    """Returns the result of a run, training it or its rest if need be.

    Raises:
        VireidError: if its folder holds a run of another config.
        Interrupted: after Ctrl-C, once its checkpoint is written.
    """
    from vireid.core import config, results
    from vireid.core.training import train

    folder, experiment = job.folder, job.experiment
    if (folder / 'config.yaml').is_file():
        changed = _changed(experiment.to_config(), config.load(folder / 'config.yaml'))
        if changed:
            raise VireidError(
                f'{folder} holds a run with another {", ".join(changed)}',
                todo='choose another --work-dir, or delete it',
            )
    done = results.read(folder)
    if done is not None:
        print(f'{_line(job.label, done)}  (done before)')
        return done
    checkpoint = folder / 'checkpoints' / 'last.pt'
    experiment.manager.register(Bar(job.label), f'progress of {job.label}')
    train(experiment, folder, resume=checkpoint if checkpoint.is_file() else None)
    result = results.read(folder)
    assert result is not None
    print(_line(job.label, result))
    return result


def _changed(settings: dict[str, Any], earlier: dict[str, Any]) -> list[str]:
    """Names the sections in which two configs differ, but for how pictures are read."""
    from vireid.core import config

    def lasting(found: dict[str, Any]) -> dict[str, str]:
        kept = {**found, 'images': {**found['images'], 'workers': None, 'reader': None}}
        return {key: config.dump({key: kept[key]}) for key in kept}

    ours, theirs = lasting(settings), lasting(earlier)
    return [key for key in ours if ours[key] != theirs.get(key)]


def _line(label: str, result: dict[str, Any]) -> str:
    row = result['rows'][0]
    return f'{label:<40} rank-1 {100 * row["R1"][0]:5.2f}  mAP {100 * row["mAP"][0]:5.2f}'


class Bar:
    """Watches one run: a progress bar on a terminal, elsewhere a line every `every` seconds."""

    def __init__(self, label: str, every: float = 60.0) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn(label),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn('{task.description}'),
            transient=True,
        )
        self._bar.disable = not self._bar.console.is_terminal
        self._task: Any = None
        self._label, self._every, self._last_line = label, every, time.monotonic()

    @hookimpl
    def run_started(self, run: Any) -> None:
        self._task = self._bar.add_task('', total=run.progress.total_steps, completed=run.progress.step)
        self._bar.start()

    @hookimpl
    def step_ended(self, progress: Any) -> None:
        self._bar.update(self._task, completed=progress.step, description='')
        if self._bar.disable and time.monotonic() - self._last_line >= self._every:
            self._last_line = time.monotonic()
            print(f'{self._label}: step {progress.step:,} of {progress.total_steps:,}', flush=True)

    @hookimpl
    def evaluating(self, what: str, done: int, total: int) -> None:
        self._bar.update(self._task, description=f'{what} {done:,}/{total:,}')

    @hookimpl
    def run_ended(self) -> None:
        self._bar.stop()
