"""Steps whose loss or gradient is not finite: what counts as one, and what the user is told."""

from __future__ import annotations

import math
from typing import Any

from vireid.core.distributed.processes import world
from vireid.core.errors import VireidError
from vireid.core.training.run import Run
from vireid.core.types import Batch


def is_finite(record: dict[str, Any]) -> bool:
    """Says whether a step's loss is a number, and its gradient's norm, where that is known."""
    return math.isfinite(record['loss']) and math.isfinite(record.get('gradient', 0.0))


def not_finite(record: dict[str, Any], batch: Batch, run: Run) -> VireidError:
    """Says that a run cannot go on since its loss is NaN or infinite: of what task, on what images, and what then."""
    bad = [name for name, value in record.get('tasks', {}).items() if not math.isfinite(value)] or ['the weighted sum']
    what = f'the loss is {record["loss"]} (from {", ".join(bad)})'
    if math.isfinite(record['loss']):
        what = f"the gradient's norm is {record['gradient']} (the loss is {record['loss']:.4g})"
    paths = [path for found in batch.paths.values() for path in found]
    share = ' of which this process has the part' if world()[1] > 1 else ''
    last = f'; the last good checkpoint is {run.checkpoint}' if run.checkpoint.exists() else ''
    precision = run.experiment.training.precision
    exact = '' if precision == '32-true' else f'--precision 32-true (this run has {precision}), '
    return VireidError(
        f'{what} on a batch{share} with {paths[0]} and {len(paths) - 1} others{last}',
        todo=f'go on with --resume and {exact}step.clip_norm, or step.skip_nonfinite, the number of such steps that '
        'may be left out (of several optimizers each has its own); or begin anew with a lower learning rate',
    )
