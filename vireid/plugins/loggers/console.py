"""Console: shows a summary, a progress bar and the result table on the terminal."""

from __future__ import annotations

import time
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vireid import __version__
from vireid.console.terminal import Terminal
from vireid.console.wording import counted
from vireid.core import types
from vireid.core.scoring.results import Results
from vireid.core.training.run import Run
from vireid.core.types import MODALITIES
from vireid.plugin_manager.manager import hookimpl
from vireid.plugins.models.cross_modal import CrossModalModel
from vireid.runtime.processes import world
from vireid.statistics.interval import FEW, what_few_allow


class Console:
    """Shows a run on the terminal. If the output is not a terminal, prints a line every `every` seconds.

    Args:
        every: seconds between lines if the output is not a terminal.
    """

    def __init__(self, every: float = 30.0) -> None:
        self.every = every
        self.console = Terminal(highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._of_its_own = False  # whether the bar is of an evaluation outside training
        self._last_line = self._started = time.monotonic()
        self._from_step = 0
        self._task: Any = None

    @hookimpl
    def run_started(self, run: Run) -> None:
        experiment, progress = run.experiment, run.progress
        counts = [f'{sum(s.modality == m for s in run.samples):,} {m}' for m in MODALITIES]
        identities = len({s.identity for s in run.samples})
        millions = sum(p.numel() for p in run.model.parameters()) / 1e6
        split = f', {run.split}' if run.split else ''
        model = [f'{millions:.1f} M parameters']
        if isinstance(run.model, CrossModalModel):
            model.append(f'embedding {run.model.embedding_dim}')
            model.append(f'tasks {" ".join(run.model.tasks)}, weighted by {type(run.model.weighter).__name__}')
        epochs = progress.total_steps / progress.steps_per_epoch
        people = counted(identities, 'identity', 'identities')
        few = {'test': what_few_allow(run.tested)} if 0 < run.tested < FEW else {}
        settings = experiment.training
        for key, text in {
            'run': f'{experiment.name} -> {run.work_dir}  (vireid {__version__}, seed {experiment.seed})',
            'data': f'{run.data}{split}: {people}, {", ".join(counts)}',
            **few,
            'model': ', '.join(model),
            'training': f'{counted(progress.total_steps, "step")} ({epochs:.1f} epochs of {progress.steps_per_epoch}), '
            f'{settings.precision} ({run.precision_reason}) on {run.device}{_processes()}',
        }.items():
            self.console.print(f'{key:<9} {text}', markup=False)
        if progress.step:
            self.console.print(f'{"resumed":<9} after step {progress.step:,}')
        self._from_step, self._started = progress.step, time.monotonic()
        if self.console.is_terminal:
            self._start_bar('training', progress.total_steps, progress.step)

    @hookimpl
    def step_ended(self, progress: types.Progress, record: dict[str, Any]) -> None:
        now = time.monotonic()
        if self._bar:
            if now - self._last_line < 0.25 and progress.step < progress.total_steps:
                return
            self._last_line = now
            self._bar.update(
                self._task, completed=progress.step, description=_epoch(progress), metrics=_metrics(record)
            )
        elif now - self._last_line >= self.every or progress.step == progress.total_steps:
            self._last_line = now
            per_step = (now - self._started) / max(1, progress.step - self._from_step)
            left = per_step * (progress.total_steps - progress.step)
            self.console.print(
                f'step {progress.step:,}/{progress.total_steps:,} ({_epoch(progress)})  {_metrics(record)}  '
                f'{per_step:.2f} s a step, {_clock(left)} left',
                markup=False,
            )

    @hookimpl
    def preparing(self, what: str, done: int, total: int) -> None:
        if self.console.is_terminal:
            self._show(what, done, total)
            if done >= total:
                self._stop_bar()
        elif done == 0:
            self.console.print(f'{what}: {total:,}', markup=False)

    @hookimpl
    def evaluating(self, what: str, done: int, total: int) -> None:
        if self._bar and not self._of_its_own:
            self._bar.update(self._task, metrics=f'{what} {done:,}/{total:,}')
        elif self.console.is_terminal:  # evaluating a checkpoint outside training
            self._show(what, done, total)
        elif (now := time.monotonic()) - self._last_line >= self.every:
            self._last_line = now
            self.console.print(f'{what} {done:,}/{total:,}', markup=False)

    @hookimpl
    def evaluated(self, progress: types.Progress, results: Results) -> None:
        if self._of_its_own or progress.step >= progress.total_steps:
            self._stop_bar()
        self.console.print(f'\n{results.caption()}, in percent:\n{results.table()}\n', markup=False)

    @hookimpl
    def run_ended(self, run: Run, finished: bool) -> None:
        self._stop_bar()
        took = _clock(time.monotonic() - self._started)
        if finished:
            self.console.print(f'done in {took}; weights, logs and images are in {run.work_dir}', markup=False)
        else:
            saved = f'; saved {run.checkpoint}' if run.checkpoint.exists() else '; nothing was saved yet'
            self.console.print(f'stopped after {took}{saved}', markup=False)

    def _show(self, what: str, done: int, total: int) -> None:
        """Shows a progress bar outside training."""
        if self._bar is None:
            self._start_bar(what, total, done)
            self._of_its_own = True
        if self._bar:
            self._bar.update(self._task, description=what, total=total, completed=done)

    def _start_bar(self, description: str, total: int, done: int) -> None:
        self._bar = Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn('{task.fields[metrics]}', markup=False),
            console=self.console,
            refresh_per_second=4,
        )
        self._bar.start()
        self._task = self._bar.add_task(description, total=total, completed=done, metrics='')

    def _stop_bar(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
        self._of_its_own = False


def _processes() -> str:
    """Returns the number of processes as text, or an empty string for one process."""
    processes = world()[1]
    if processes == 1:
        return ''
    return f', {processes} processes'


def _epoch(progress: types.Progress) -> str:
    last = -(-progress.total_steps // progress.steps_per_epoch)
    return f'epoch {min(progress.epoch + 1, last)}/{last}'


def _metrics(record: dict[str, Any]) -> str:
    tasks = []
    for name, loss in record.get('tasks', {}).items():
        weight = record.get('weights', {}).get(name, 1)
        tasks.append(f'{name} {loss:.2f}' + ('' if weight == 1 else f'*{weight:.2f}'))
    parts = f' = {" + ".join(tasks)}' if tasks else ''
    turn = f'{record["turn"]}: ' if 'turn' in record else ''
    return f'{turn}loss {record["loss"]:.2f}{parts}' + (f'  lr {record["lr"]:.2g}' if 'lr' in record else '')


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{rest:02}' if hours else f'{minutes}:{rest:02}'
