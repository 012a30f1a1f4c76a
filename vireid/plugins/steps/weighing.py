"""From the tasks' losses to one total, and to the plain numbers that a step reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vireid.core.errors import VireidError
from vireid.core.registry.contracts import GUIDE, described
from vireid.core.types import Progress
from vireid.plugins.models.returns import require_scalar


def weigh(weighter: Any, tasks: Mapping[str, Tensor], progress: Progress) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Returns the total of the tasks and the factor of each: by the weighter, or their sum without one.

    Raises:
        VireidError: if the weighter returns anything else.
    """
    if weighter is None:
        return torch.stack(list(tasks.values())).sum(), {name: loss.new_ones(()) for name, loss in tasks.items()}
    made = weighter(tasks, progress)
    total, weights = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(weights, Mapping) or set(weights) != set(tasks) or getattr(total, 'ndim', None) != 0:
        raise VireidError(
            f'model.weighter: {type(weighter).__name__} returned {described(made)}',
            allowed=f'a total, a tensor of one number, and a dict of the weights of {", ".join(tasks)}',
            todo=GUIDE,
            path='model.weighter',
        )
    for name, weight in weights.items():
        require_scalar(weight, f'the weight of {name!r}', 'model.weighter')
    return total, weights


Metrics = Mapping[str, Mapping[str, Tensor]]  # by group, such as `tasks`, and by name


def plain_metrics(parts: Sequence[tuple[Metrics, float]]) -> dict[str, Any]:
    """Returns what a step tells of itself in plain floats: `loss`, by task `tasks` and `weights`, the rest as `curves`.

    Args:
        parts: the metrics of each part of the batch, and its share in it.
    """
    rows = [torch.stack([v.detach() for of in found.values() for v in of.values()]) for found, _ in parts]
    rows = [row.to(torch.promote_types(row.dtype, torch.float32)) for row in rows]
    total = sum(row * share for row, (_, share) in zip(rows, parts, strict=True))
    values = iter(torch.as_tensor(total).tolist())  # one transfer from the device for all
    named = {group: {name: next(values) for name in found} for group, found in parts[0][0].items()}
    first = {'loss': named.pop('loss')['loss'], 'tasks': named.pop('tasks'), 'weights': named.pop('weights')}
    return {**first, 'curves': named}
