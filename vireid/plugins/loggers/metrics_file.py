"""metrics.jsonl: one JSON object a line, for every step and every evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from vireid.boundary.showing import as_json
from vireid.boundary.writing import open_to_append, open_whole
from vireid.core.scoring.results import Results
from vireid.core.training.run import Run
from vireid.core.types import Progress
from vireid.plugin_manager.manager import hookimpl
from vireid.reporting.record import scan_metrics


class MetricsFile:
    """Writes `metrics.jsonl` into the run's folder.

    A step's line holds `step` (from 1), `epoch` (as a fraction of epochs done), `loss`, `tasks`, `weights`, `curves`
    (what the weighter shows, such as `sigma` or `lambda`), `lr`, and where it is looked at `gradient`, its norm before
    clipping; an evaluation's holds `step`, `epoch`, `protocol`, `weights` and `rows` (fractions; mean and standard
    deviation over trials).
    What is not a number, such as the loss of a step that was left out (`skipped`), is `null`.
    A resumed run drops the lines after the checkpoint it starts from, so no line is there twice.
    """

    def __init__(self) -> None:
        self._file: TextIO | None = None

    @hookimpl
    def run_started(self, run: Run) -> None:
        path = run.work_dir / 'metrics.jsonl'
        _keep_until(path, run.progress.step)
        self._file = open_to_append(path)  # whole lines, whatever ends the process

    @hookimpl
    def step_ended(self, progress: Progress, record: dict[str, Any]) -> None:
        self._write(progress, record)

    @hookimpl
    def evaluated(self, progress: Progress, results: Results) -> None:
        self._write(progress, results.to_dict())

    @hookimpl
    def run_ended(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _write(self, progress: Progress, values: dict[str, Any]) -> None:
        if self._file:
            epoch = round(progress.step / progress.steps_per_epoch, 4)
            values = _finite({'step': progress.step, 'epoch': epoch, **values})
            self._file.write(as_json(values, allow_nan=False) + '\n')


def _finite(values: Any) -> Any:
    """Returns values that JSON has: it knows neither NaN nor infinity."""
    if isinstance(values, Mapping):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _keep_until(path: Path, step: int) -> None:
    if not path.exists():
        return
    with open_whole(path) as file:

        def keep(line: dict[str, Any], text: bytes) -> None:
            # the evaluation of the checkpoint's own step is run again: it may not have come to its end
            if line['step'] < step or (line['step'] == step and 'rows' not in line):
                file.write(text.rstrip(b'\r\n') + b'\n')  # as it was: a number parsed and written may differ

        scan_metrics(path, keep)
