"""The scalars of a step and of an evaluation, with names that all trackers accept."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from vireid.core.scoring.results import Results
from vireid.statistics.scores import METRICS


def step_scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """Returns the finite scalars of a step's record.

    Names: `loss`, `lr`, `gradient`, `tasks/NAME`, `weights/NAME` and `curves/TITLE/NAME`, such as `curves/sigma/mlfm`.
    If optimizers take turns, `loss/TURN` replaces `loss`.
    """
    groups: dict[str, Mapping[str, float]] = {key: record.get(key, {}) for key in ('tasks', 'weights')}
    groups |= {f'curves/{_clean(title)}': values for title, values in record.get('curves', {}).items()}
    scalars = {key: record[key] for key in ('loss', 'lr', 'gradient') if key in record}
    if 'turn' in record:
        scalars[f'loss/{_clean(record["turn"])}'] = scalars.pop('loss')
    for group, values in groups.items():
        scalars |= {f'{group}/{_clean(name)}': value for name, value in values.items()}
    return _finite(scalars)


def evaluation_scalars(results: Results) -> dict[str, float]:
    """Returns the mean of each metric of each row, in percent: `test/all/R1`, `validation/all/mAP`."""
    metrics: dict[str, float] = {}
    for row in results.rows():
        name = f'{results.split}/{_clean(row["name"])}'
        metrics |= {f'{name}/{key}': 100 * row[key]['mean'] for key in METRICS}
    return _finite(metrics)


def _clean(name: str) -> str:
    """Reduces a name to letters, digits and underscores, as Weights & Biases requires."""
    return re.sub(r'\W+', '_', name, flags=re.ASCII).strip('_')


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}
