"""Detects and reports steps whose loss or gradient is not finite."""

from __future__ import annotations

import math
from typing import Any

from vireid.core.training.run import Run
from vireid.core.types import Batch
from vireid.errors import NotFinite, VireidError
from vireid.runtime.processes import world


def is_finite(record: dict[str, Any]) -> bool:
    """Returns whether a step's loss, and its gradient norm if known, are finite."""
    return math.isfinite(record['loss']) and math.isfinite(record.get('gradient', 0.0))


def not_finite(record: dict[str, Any], batch: Batch, run: Run) -> VireidError:
    """Returns the error for a loss or gradient that is not finite, with the tasks and images involved.

    Args:
        record: what the step returned.
        batch: the batch of the step.
        run: the run.
    """
    bad = [name for name, value in record.get('tasks', {}).items() if not math.isfinite(value)] or ['the weighted sum']
    what = f'the loss is {record["loss"]} (from {", ".join(bad)})'
    if math.isfinite(record['loss']):
        what = f'the gradient norm is {record["gradient"]} (the loss is {record["loss"]:.4g})'
    paths = [path for names in batch.paths.values() for path in names]
    share = " (this rank's shard)" if world()[1] > 1 else ''
    last = f'; the last good checkpoint is {run.checkpoint}' if run.checkpoint.exists() else ''
    precision = run.experiment.training.precision
    exact = '' if precision == '32-true' else f'--precision 32-true (this run has {precision}), '
    return NotFinite(
        f'{what} on a batch{share} with {paths[0]} and {len(paths) - 1} others{last}',
        todo=f'resume with --resume and {exact}step.clip_norm, or step.skip_nonfinite, the number of such steps to '
        'skip (set per optimizer if there are several); or start over with a lower learning rate',
    )
