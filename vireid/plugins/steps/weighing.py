"""Combines task losses into a total and converts a step's metrics to plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vireid.core.registry.contracts import GUIDE, described
from vireid.core.types import Progress
from vireid.errors import Mismatch
from vireid.plugins.models.returns import require_scalar


def weigh(weighter: Any, tasks: Mapping[str, Tensor], progress: Progress) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Returns the total loss and the weight of each task; without a weighter, the sum with weights 1.

    Args:
        weighter: the weighter, or None.
        tasks: the loss of each task.
        progress: the progress of the run.

    Raises:
        Mismatch: if the weighter does not return a scalar total and a weight per task.
    """
    if weighter is None:
        return torch.stack(list(tasks.values())).sum(), {name: loss.new_ones(()) for name, loss in tasks.items()}
    result = weighter(tasks, progress)
    total, weights = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if not isinstance(weights, Mapping) or set(weights) != set(tasks) or not isinstance(total, Tensor) or total.ndim:
        raise Mismatch(
            f'model.weighter: {type(weighter).__name__} returned {described(result)}',
            allowed=f'a scalar tensor, the total, and a dict with the weights of {", ".join(tasks)}',
            todo=GUIDE,
            path='model.weighter',
        )
    for name, weight in weights.items():
        require_scalar(weight, f'the weight of {name!r}', 'model.weighter')
    return total, weights


Metrics = Mapping[str, Mapping[str, Tensor]]  # by group, such as `tasks`, and by name


def plain_metrics(parts: Sequence[tuple[Metrics, float]], norm: Tensor | None = None) -> dict[str, Any]:
    """Returns a step's metrics as plain floats: `loss`, `tasks` and `weights` by task, and the others as `curves`.

    This is the only place where a step of ours waits for the device.

    Args:
        parts: the metrics of each micro-batch, and its share of the batch.
        norm: the gradient norm, which becomes `gradient`; None if it was not computed.
    """
    rows = [torch.stack([v.detach() for of in metrics.values() for v in of.values()]) for metrics, _ in parts]
    rows = [row.to(torch.promote_types(row.dtype, torch.float32)) for row in rows]
    total = torch.as_tensor(sum(row * share for row, (_, share) in zip(rows, parts, strict=True)))
    if norm is not None:
        total = torch.cat([total, norm.detach().to(total).reshape(1)])
    values = iter(total.tolist())  # a single transfer from the device
    named = {group: {name: next(values) for name in metrics} for group, metrics in parts[0][0].items()}
    first = {'loss': named.pop('loss')['loss'], 'tasks': named.pop('tasks'), 'weights': named.pop('weights')}
    gradient = {} if norm is None else {'gradient': next(values)}
    return {**first, 'curves': named, **gradient}
