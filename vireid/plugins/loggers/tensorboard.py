"""TensorBoard: event files in the run's folder."""

from __future__ import annotations

import textwrap
from typing import Any

from vireid.boundary.paths import inside, is_name
from vireid.core.config import files
from vireid.core.errors import VireidError
from vireid.core.scoring.results import Results
from vireid.core.training.run import Run
from vireid.core.types import Progress
from vireid.plugin_manager.manager import hookimpl
from vireid.plugins.loggers.optional_packages import import_package
from vireid.plugins.loggers.scalars import evaluation_scalars, step_scalars


class TensorBoard:
    """Writes TensorBoard's event files into the run's folder; see them with `tensorboard --logdir runs`.

    Every step has its scalars, every evaluation its metrics in percent, and `config` is a text. What is not a finite
    number is left out. A resumed run hides what was written after the checkpoint it starts from.

    Args:
        folder: name of the folder within the run's.

    Raises:
        VireidError: if the package tensorboard is not installed.
    """

    def __init__(self, folder: str = 'tensorboard') -> None:
        import_package('tensorboard', 'TensorBoard', 'tensorboard')
        if not is_name(folder):
            raise VireidError(f'folder is {folder!r}', allowed="a name within the run's folder, such as tensorboard")
        self.folder = folder
        self._writer: Any = None

    @hookimpl
    def run_started(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # a run that begins anew hides all of an earlier one in this folder
        first = run.progress.step + 1 if run.resumed else 0
        self._writer = SummaryWriter(str(inside(run.work_dir, self.folder)), purge_step=first, flush_secs=30)
        text = textwrap.indent(files.dump(run.experiment.to_config()), '    ')  # four spaces: as it is, in Markdown
        self._writer.add_text('config', text, run.progress.step)

    @hookimpl
    def step_ended(self, progress: Progress, record: dict[str, Any]) -> None:
        self._write(step_scalars(record), progress)

    @hookimpl
    def evaluated(self, progress: Progress, results: Results) -> None:
        self._write(evaluation_scalars(results), progress)
        if self._writer:
            self._writer.flush()

    @hookimpl
    def run_ended(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None

    def _write(self, scalars: dict[str, float], progress: Progress) -> None:
        if self._writer:  # there is none where a checkpoint is scored, outside training
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, progress.step)
