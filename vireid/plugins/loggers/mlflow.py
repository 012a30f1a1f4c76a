"""MLflow: logs to a tracking server, or to an SQLite file next to the run folder."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from vireid.boundary.writing import write_whole
from vireid.core.config.overrides import leaves
from vireid.core.scoring.results import Results
from vireid.core.training.run import Run
from vireid.core.types import Progress
from vireid.plugin_manager.manager import hookimpl
from vireid.plugins.loggers.optional_packages import import_package
from vireid.plugins.loggers.run_id import read_run_id
from vireid.plugins.loggers.scalars import evaluation_scalars, step_scalars

ID_FILE = 'mlflow_run_id.txt'
KEY_LENGTH, VALUE_LENGTH, PARAMS, METRICS = 250, 6000, 100, 1000  # MLflow's limits; the last two are per batch
SECONDS = 2.0  # between two batches, as sending one may take as long as a step
STORE = ('sqlalchemy', 'alembic')  # needed for a local SQLite file


class MLflow:
    """Logs to MLflow.

    It logs the scalars of each step, the metrics of each evaluation in percent, and each config value as a parameter
    (`model.backbone.depth`). Non-finite numbers are dropped. Steps are sent every two seconds and at the end of each
    epoch. An interrupted run gets the status KILLED. A resumed run continues the MLflow run with the ID in
    `mlflow_run_id.txt`; steps between its checkpoint and the interruption appear twice.

    Args:
        experiment: name of the MLflow experiment.
        uri: URI of the tracking server or database; by default the environment variable MLFLOW_TRACKING_URI, or else
            the SQLite file `mlflow.db` next to the run folder.

    Raises:
        MissingPackage: if mlflow is not installed or, for an SQLite file, sqlalchemy or alembic is not.
    """

    reaches_out = True  # sends data to a server, so untrusted configs must not use it

    def __init__(self, experiment: str = 'vireid', uri: str | None = None) -> None:
        self.experiment, self.uri = experiment, uri or os.environ.get('MLFLOW_TRACKING_URI')
        self._mlflow = import_package('mlflow', 'MLflow', 'mlflow')
        for package in () if self.uri else STORE:
            import_package(package, 'MLflow', 'mlflow')
        logging.getLogger('mlflow').setLevel(logging.WARNING)  # INFO reports each table that it creates
        os.environ.setdefault('MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT', 'true')
        self._client: Any = None
        self._run_id = ''
        self._pending: list[Any] = []
        self._sent = time.monotonic()

    @hookimpl
    def run_started(self, run: Run) -> None:
        uri = self.uri or f'sqlite:///{(run.work_dir.parent / "mlflow.db").absolute().as_posix()}'
        self._client = self._mlflow.MlflowClient(tracking_uri=uri)
        path = run.work_dir / ID_FILE
        if run.resumed and path.exists():
            self._run_id = read_run_id(path)
            self._client.update_run(self._run_id, status='RUNNING')
            return
        existing = self._client.get_experiment_by_name(self.experiment)
        experiment_id = existing.experiment_id if existing else self._client.create_experiment(self.experiment)
        self._run_id = self._client.create_run(experiment_id, run_name=run.experiment.name).info.run_id
        params = [self._mlflow.entities.Param(*item) for item in _params(run.experiment.to_config()).items()]
        for start in range(0, len(params), PARAMS):
            self._client.log_batch(self._run_id, params=params[start : start + PARAMS])
        write_whole(path, self._run_id + '\n')  # last, so that a resumed run has all parameters

    @hookimpl
    def step_ended(self, progress: Progress, record: dict[str, Any]) -> None:
        self._write(step_scalars(record), progress)
        if time.monotonic() - self._sent >= SECONDS:
            self._send()

    @hookimpl
    def epoch_ended(self) -> None:
        self._send()  # before the checkpoint, so that a run that is killed later resumes without a gap

    @hookimpl
    def evaluated(self, progress: Progress, results: Results) -> None:
        self._write(evaluation_scalars(results), progress)
        self._send()

    @hookimpl
    def run_ended(self, finished: bool) -> None:
        if self._client:
            self._send()
            self._client.set_terminated(self._run_id, status='FINISHED' if finished else 'KILLED')
            self._client = None

    def _write(self, scalars: dict[str, float], progress: Progress) -> None:
        if self._client:  # None when a checkpoint is evaluated outside training
            now = int(1000 * time.time())
            metric = self._mlflow.entities.Metric
            self._pending += [metric(name, value, now, progress.step) for name, value in scalars.items()]

    def _send(self) -> None:
        pending, self._pending = self._pending, []
        for start in range(0, len(pending), METRICS):
            self._client.log_batch(self._run_id, metrics=pending[start : start + METRICS])
        self._sent = time.monotonic()


def _params(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns config values by dotted key, with the characters and lengths that MLflow accepts."""
    values = {'.'.join(path): str(value)[:VALUE_LENGTH] for path, value in leaves(config, lists=True)}
    return {re.sub(r'[^\w./ -]', '_', key)[:KEY_LENGTH]: text for key, text in values.items()}
