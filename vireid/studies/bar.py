"""The progress of one of several runs."""

from __future__ import annotations

import time
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vireid.console.terminal import Terminal
from vireid.plugin_manager.manager import hookimpl


class Bar:
    """Callback that shows the progress of a run: a bar on a terminal, elsewhere a line every `every` seconds."""

    def __init__(self, label: str, every: float = 60.0) -> None:
        self._bar = Progress(
            TextColumn(label.replace('{', '{{').replace('}', '}}'), markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn('{task.description}', markup=False),
            console=Terminal(),
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
    def preparing(self, what: str, done: int, total: int) -> None:
        if self._bar.disable and done == 0:
            print(f'{self._label}: {what}, {total:,}', flush=True)

    @hookimpl
    def step_ended(self, progress: Any) -> None:
        self._bar.update(self._task, completed=progress.step, description='')
        if self._is_due():
            print(f'{self._label}: step {progress.step:,} of {progress.total_steps:,}', flush=True)

    @hookimpl
    def evaluating(self, what: str, done: int, total: int) -> None:
        if self._task is None:  # scored again, without a training run
            self._task = self._bar.add_task('', total=total)
            self._bar.start()
        self._bar.update(self._task, description=f'{what} {done:,}/{total:,}')
        if self._is_due():
            print(f'{self._label}: {what}, {done:,} of {total:,}', flush=True)

    @hookimpl
    def evaluated(self, progress: Any) -> None:
        if progress.step >= progress.total_steps:
            self._bar.stop()

    @hookimpl
    def run_ended(self) -> None:
        self._bar.stop()

    def _is_due(self) -> bool:
        """Reports whether the output, if it is not a terminal, needs another line."""
        due = self._bar.disable and time.monotonic() - self._last_line >= self._every
        if due:
            self._last_line = time.monotonic()
        return due
