"""TensorBoard: writes event files into the run folder."""

from __future__ import annotations

import textwrap
from typing import Any

from vireid.boundary import config_text
from vireid.boundary.paths import inside, is_name
from vireid.core.scoring.results import Results
from vireid.core.training.run import Run
from vireid.core.types import Progress
from vireid.errors import WrongValue
from vireid.plugin_manager.manager import hookimpl
from vireid.plugins.loggers.optional_packages import import_package
from vireid.plugins.loggers.scalars import evaluation_scalars, step_scalars


class TensorBoard:
    """Writes TensorBoard event files into the run folder. View them with `tensorboard --logdir runs`.

    It logs the scalars of each step, the metrics of each evaluation in percent, and `config` as text. Non-finite
    numbers are dropped. A resumed run hides everything that was logged after its checkpoint.

    Args:
        folder: name of the subfolder of the run folder.

    Raises:
        VireidError: if tensorboard is not installed, or `folder` is not a plain name.
    """

    def __init__(self, folder: str = 'tensorboard') -> None:
        import_package('tensorboard', 'TensorBoard', 'tensorboard')
        if not is_name(folder):
            raise WrongValue(f'folder is {folder!r}', allowed='the name of a subfolder, such as tensorboard')
        self.folder = folder
        self._writer: Any = None

    @hookimpl
    def run_started(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # a new run hides everything that an earlier run logged in this folder
        first = run.progress.step + 1 if run.resumed else 0
        self._writer = SummaryWriter(str(inside(run.work_dir, self.folder)), purge_step=first, flush_secs=30)
        text = textwrap.indent(config_text.dump(run.experiment.to_config()), '    ')  # a code block in Markdown
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
        if self._writer:  # None when a checkpoint is evaluated outside training
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, progress.step)
