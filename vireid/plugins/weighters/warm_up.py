"""Task weights that ramp up from 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn

from vireid.core.types import Progress
from vireid.errors import WrongValue
from vireid.plugins.weighters.fixed import require_known

Curve = Literal['linear', 'cosine', 'adaptive']


class WarmUp(nn.Module):
    """Ramps the weights of some tasks up from 0; the other tasks have weight 1 (TFFN Eq. 6).

    Let t be the (fractional) number of epochs done divided by `epochs`. `linear` is min(1, t) and `cosine` is
    (1 - cos(pi min(1, t))) / 2. `adaptive` is the rule of DDAG (Ye et al., ECCV 2020, arXiv 2007.09314): 0 in the
    first epoch, then 1 / (1 + E), where E is the mean over the previous epoch's steps of the summed losses of the tasks
    that do not warm up. The running mean is kept in buffers, so it is saved with the model.

    Args:
        task_names: the tasks to weigh.
        tasks: curve of each task that warms up.
        epochs: length of the ramp of `linear` and `cosine`, above 0.
        other_tasks: tasks weighted by other weighters; they count for E.

    Raises:
        VireidError: if `tasks` names an unknown task, or every task warms up.
    """

    total: Tensor
    count: Tensor
    adaptive: Tensor
    epoch: Tensor

    def __init__(
        self,
        task_names: Sequence[str],
        tasks: Mapping[str, Curve],
        epochs: Annotated[float, Gt(0)] = 10.0,
        other_tasks: Sequence[str] = (),
    ) -> None:
        super().__init__()
        require_known(tasks, task_names)
        if tasks and not {*task_names, *other_tasks} - set(tasks):
            raise WrongValue('every task warms up, so nothing is trained at first', todo='remove one from tasks')
        self.task_names = tuple(task_names)
        self.growing = dict(tasks)
        self.epochs = epochs
        self.register_buffer('total', torch.zeros(()))  # summed losses of the other tasks in this epoch
        self.register_buffer('count', torch.zeros((), dtype=torch.int64))
        self.register_buffer('epoch', torch.zeros((), dtype=torch.int64))
        self.register_buffer('adaptive', torch.zeros(()))  # weight in this epoch
        self._used: dict[str, Tensor] = {}

    def forward(self, tasks: dict[str, Tensor], progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the weighted sum of the tasks, a scalar, and the weight of each task."""
        constant = [loss.detach() for name, loss in tasks.items() if name not in self.growing]
        if self.training and constant:
            others = torch.stack(constant)
            self._remember(others.to(torch.promote_types(others.dtype, torch.float32)).sum(), progress)
        weights = {name: tasks[name].new_ones(()) for name in self.task_names if name in tasks}
        for name, curve in self.growing.items():
            if name in tasks:
                weights[name] = self._weight(curve, progress).to(tasks[name])
        self._used = {name: weights[name] for name in self.growing if name in tasks}
        return torch.stack([weight * tasks[name] for name, weight in weights.items()]).sum(), weights

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """Returns the latest `lambda` of each task that warms up."""
        return {'lambda': self._used} if self._used else {}

    def _remember(self, others: Tensor, progress: Progress) -> None:
        # tensors throughout: reading a value would synchronize with the GPU in every step
        fresh = self.epoch != progress.epoch
        weight = 1 / (1 + self.total / self.count.clamp_min(1))
        self.adaptive.copy_(torch.where(fresh & (self.count > 0), weight, self.adaptive))
        self.total.mul_(~fresh).add_(others)
        self.count.mul_(~fresh).add_(1)
        self.epoch.fill_(progress.epoch)

    def _weight(self, curve: Curve, progress: Progress) -> Tensor:
        if curve == 'adaptive':
            return self.adaptive
        t = min(1.0, progress.step / (progress.steps_per_epoch * self.epochs))
        return self.adaptive.new_full((), t if curve == 'linear' else (1 - math.cos(math.pi * t)) / 2)
