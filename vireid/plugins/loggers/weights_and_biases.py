"""WeightsAndBiases: logs to Weights & Biases, online or offline."""

from __future__ import annotations

import uuid
from typing import Any, Literal

from vireid.boundary.writing import write_whole
from vireid.core.scoring.results import Results
from vireid.core.training.run import Run
from vireid.core.types import Progress
from vireid.errors import NotReady
from vireid.plugin_manager.manager import hookimpl
from vireid.plugins.loggers.optional_packages import import_package
from vireid.plugins.loggers.run_id import read_run_id
from vireid.plugins.loggers.scalars import evaluation_scalars, step_scalars

ID_FILE = 'wandb_run_id.txt'


class WeightsAndBiases:
    """Logs to Weights & Biases, with files in the folder `wandb/` of the run folder.

    It logs the scalars of each step and the metrics of each evaluation in percent, plotted over `step`. Non-finite
    numbers are dropped. An interrupted run is marked as failed. A resumed run continues the run with the ID in
    `wandb_run_id.txt`; steps between its checkpoint and the interruption appear twice. Upload offline runs with
    `wandb sync`.

    Args:
        project: name of the project.
        mode: `online`, `offline`, or `disabled`, which writes nothing; by default the environment variable WANDB_MODE,
            or else `online`.

    Raises:
        VireidError: if wandb is not installed, or the mode is online and you are not logged in.
    """

    reaches_out = True  # sends data to a server, so untrusted configs must not use it

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
            reinit='create_new',  # does not end another run of the user in this process
            settings=self._wandb.Settings(silent=True, console='off'),
        )
        # wandb's own step must increase, so it would drop an evaluation at a step that is already logged
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
        if self._run:  # None when a checkpoint is evaluated outside training
            self._run.log({'step': progress.step, **scalars})

    def _require_login(self) -> None:
        """Checks the login of an online run at the start, as wandb would prompt for a key in the middle of it.

        Raises:
            NotReady: if the mode is online and no API key is known.
        """
        settings = self._wandb.setup(settings=self._wandb.Settings(silent=True)).settings
        online = self.mode in (None, 'online') and settings.mode == 'online'
        if online and not self._wandb.login(prompt=False, verify=False):
            raise NotReady(
                'the logger WeightsAndBiases is online, but you are not logged in',
                todo="run wandb login, or set mode='offline' and upload the run later with wandb sync",
            )
