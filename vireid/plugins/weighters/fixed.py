"""Constant task weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from vireid.core.types import Progress
from vireid.errors import UnknownName, did_you_mean


class Fixed(nn.Module):
    """Sums the tasks with constant weights.

    Args:
        task_names: the tasks to weigh.
        tasks: weight of each task; the default is 1.

    Raises:
        UnknownName: if `tasks` names an unknown task.
    """

    def __init__(self, task_names: Sequence[str], tasks: Mapping[str, float] | None = None) -> None:
        super().__init__()
        require_known(tasks or {}, task_names)
        self.weights = {name: float((tasks or {}).get(name, 1.0)) for name in task_names}

    def forward(self, tasks: dict[str, Tensor], progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the weighted sum of the tasks, a scalar, and the weight of each task."""
        weights = {n: tasks[n].new_full((), weight) for n, weight in self.weights.items() if n in tasks}
        return torch.stack([weight * tasks[name] for name, weight in weights.items()]).sum(), weights


def require_known(named: Iterable[str], task_names: Sequence[str], where: str = '') -> None:
    """Checks the tasks that a weighter's config names.

    Args:
        named: the names in the config.
        task_names: the tasks of the heads.
        where: start of the message.

    Raises:
        UnknownName: if a task is unknown.
    """
    for name in named:
        if name not in task_names:
            raise UnknownName(
                f'{where}unknown task {name!r}{did_you_mean(name, task_names)}', allowed=', '.join(task_names)
            )
