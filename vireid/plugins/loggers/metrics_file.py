"""MetricsFile: writes metrics.jsonl, with one JSON object per step and per evaluation."""

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
    """Writes `metrics.jsonl` into the run folder.

    The line of a step has `step` (starting at 1), `epoch` (the fractional number of epochs done), `loss`, `tasks`,
    `weights`, `curves` (of the weighter, such as `sigma` or `lambda`), `lr` and, if it was computed, `gradient` (the
    norm before clipping); `turn` names the optimizers if they take turns. The line of an evaluation has `step`,
    `epoch`, `protocol`, `weights` and `rows` (fractions; mean and standard deviation over trials). Non-finite values,
    such as the loss of a skipped step (`skipped`), are `null`. A resumed run removes the lines after its checkpoint, so
    there are no duplicates.
    """

    def __init__(self) -> None:
        self._file: TextIO | None = None

    @hookimpl
    def run_started(self, run: Run) -> None:
        path = run.work_dir / 'metrics.jsonl'
        _keep_until(path, run.progress.step)
        self._file = open_to_append(path)  # writes whole lines, even if the process is killed

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
    """Replaces NaN and infinity, which JSON does not have, with None."""
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
            # the evaluation at the checkpoint's step runs again, as it may have been interrupted
            if line['step'] < step or (line['step'] == step and 'rows' not in line):
                file.write(text.rstrip(b'\r\n') + b'\n')  # unparsed, as parsing may change the text of a number

        scan_metrics(path, keep)
