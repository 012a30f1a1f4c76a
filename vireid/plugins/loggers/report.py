"""Report: writes the report page of a run."""

from __future__ import annotations

import sys

from vireid.core.scoring.results import Results
from vireid.core.training.run import Run
from vireid.plugin_manager.manager import hookimpl
from vireid.reporting import evidence
from vireid.reporting.collect import collect
from vireid.reporting.page import write_report
from vireid.reporting.record import read_run
from vireid.statistics.calibration import Calibration


class Report:
    """Writes `report.npz`, the evidence of the final evaluation, and the page `report.html`.

    Both are written once, at the end of a run, and by `vireid test`. The curves come from `metrics.jsonl`, so they need
    the logger `MetricsFile`. `vireid report RUN` rewrites the page.
    """

    def __init__(self) -> None:
        self._training = False
        self._results: Results | None = None

    @hookimpl
    def run_started(self, run: Run) -> None:
        self._training, self._results = True, None
        (run.work_dir / evidence.FILE).unlink(missing_ok=True)  # left by an earlier run

    @hookimpl(trylast=True)
    def evaluated(self, run: Run, results: Results) -> None:
        self._results = results
        if not self._training:
            self._try_to_write(run)

    @hookimpl(trylast=True)
    def run_ended(self, run: Run, finished: bool) -> None:
        if not finished:
            self._results = None  # of an evaluation during training
        self._try_to_write(run)
        self._training = False

    def _try_to_write(self, run: Run) -> None:
        """Writes both files; an error is only a warning, as it must not affect the run."""
        try:
            self._write(run)
        except Exception as error:
            print(f'warning: report.html could not be written: {type(error).__name__}: {error}', file=sys.stderr)

    def _write(self, run: Run) -> None:
        run.work_dir.mkdir(parents=True, exist_ok=True)
        if self._results is not None:
            transform = run.experiment.build_transform('test')
            scale_raw = run.experiment.images.scale_raw
            known = None if run.calibration is None else Calibration.of(run.calibration)
            collected = collect(self._results, run.model, transform, run.device, run.experiment.name, scale_raw, known)
            collected.save(run.work_dir / evidence.FILE)
        path = run.work_dir / 'report.html'
        write_report([read_run(run.work_dir)], path)
        print(f'report: {path}')
