"""Weights & Biases: the run in a project there, or offline in the run's folder."""

from __future__ import annotations

import uuid
from typing import Any, Literal

from vireid.boundary.writing import write_whole
from vireid.core.errors import VireidError
from vireid.core.scoring.results import Results
from vireid.core.training.run import Run
from vireid.core.types import Progress
from vireid.plugin_manager.manager import hookimpl
from vireid.plugins.loggers.optional_packages import import_package
from vireid.plugins.loggers.run_id import read_run_id
from vireid.plugins.loggers.scalars import evaluation_scalars, step_scalars

ID_FILE = 'wandb_run_id.txt'


class WeightsAndBiases:
    """Logs to Weights & Biases; its files are in `wandb/` of the run's folder.

    Every step has its scalars, every evaluation its metrics in percent, all drawn over `step`. What is not a finite
    number is left out. A run that was interrupted is marked as failed. A resumed run goes on under the id in
    `wandb_run_id.txt`; steps between its checkpoint and the interruption are there twice. `wandb sync` uploads what was
    written offline.

    Args:
        project: its name there.
        mode: `online`, `offline`, or `disabled`, which writes nothing; by default what the environment variable
            WANDB_MODE says, else online.

    Raises:
        VireidError: if the package wandb is not installed, or it would be online and nobody is logged in.
    """

    reaches_out = True  # to a server: a config that is data does not choose it

    def __init__(self, project: str = 'vireid', mode: Literal['online', 'offline', 'disabled'] | None = None) -> None:
        self.project, self.mode = project, mode
        self._wandb = import_package('wandb', 'WeightsAndBiases', 'wandb')
        self._require_login()
        self._run: Any = None

    @hookimpl
    def run_started(self, run: Run) -> None:
        path = run.work_dir / ID_FILE
        if not (run.resumed and path.exists()):
            write_whole(path, uuid.uuid4().hex + '\n')
        self._run = self._wandb.init(
            project=self.project,
            mode=self.mode,
            dir=str(run.work_dir),
            id=read_run_id(path),
            resume='allow',
            name=run.experiment.name,
            config=run.experiment.to_config(),
            reinit='create_new',  # a run of the user's own, in this process, goes on
            settings=self._wandb.Settings(silent=True, console='off'),
        )
        # its own count of rows only ever rises, so that it drops an evaluation of a step that it has already
        self._run.define_metric('step', hidden=True)
        self._run.define_metric('*', step_metric='step')

    @hookimpl
    def step_ended(self, progress: Progress, record: dict[str, Any]) -> None:
        self._write(step_scalars(record), progress)

    @hookimpl
    def evaluated(self, progress: Progress, results: Results) -> None:
        self._write(evaluation_scalars(results), progress)

    @hookimpl
    def run_ended(self, finished: bool) -> None:
        if self._run:
            self._run.finish(exit_code=0 if finished else 1)
            self._run = None

    def _write(self, scalars: dict[str, float], progress: Progress) -> None:
        if self._run:  # there is none where a checkpoint is scored, outside training
            self._run.log({'step': progress.step, **scalars})

    def _require_login(self) -> None:
        """Raises if the run would be online and no key is known: it would ask for one in the middle of a run."""
        settings = self._wandb.setup(settings=self._wandb.Settings(silent=True)).settings
        online = self.mode in (None, 'online') and settings.mode == 'online'
        if online and not self._wandb.login(prompt=False, verify=False):
            raise VireidError(
                'the logger WeightsAndBiases is online, and nobody is logged in',
                todo="wandb login; or set its mode='offline', and upload later with wandb sync",
            )
