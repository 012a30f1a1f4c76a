"""Weights that start at 0 and grow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import Progress
from vireid.plugins.weighters.fixed import require_known

Curve = Literal['linear', 'cosine', 'adaptive']


class WarmUp(nn.Module):
    """Lets some tasks start at weight 0 and grow; the others weigh 1 (TFFN Eq. 6).

    With t the epochs done so far (a fraction) over `epochs`: `linear` is min(1, t), `cosine` is (1 - cos(pi t)) / 2.
    `adaptive` is DDAG's: 0 in the first epoch, then 1 / (1 + E), E the mean over the previous epoch's steps of the
    sum of the other tasks' losses (those that do not warm up). Its running mean is kept in buffers, so it is saved
    with the model.

    Args:
        task_names: the tasks it weighs.
        tasks: curve of each task that warms up.
        epochs: how long `linear` and `cosine` grow.
        other_tasks: tasks that someone else weighs; they count for E.
    """

    total: Tensor
    count: Tensor
    adaptive: Tensor
    epoch: Tensor

    def __init__(
        self,
        task_names: Sequence[str],
        tasks: Mapping[str, Curve],
        epochs: float = 10.0,
        other_tasks: Sequence[str] = (),
    ) -> None:
        super().__init__()
        require_known(tasks, task_names)
        if epochs <= 0:
            raise VireidError(f'epochs is {epochs}', allowed='a number above 0')
        if tasks and not {*task_names, *other_tasks} - set(tasks):
            raise VireidError('every task warms up, so nothing is trained at first', todo='leave one task out')
        self.task_names = tuple(task_names)
        self.growing = dict(tasks)
        self.epochs = epochs
        self.register_buffer('total', torch.zeros(()))  # of the others' losses, this epoch
        self.register_buffer('count', torch.zeros((), dtype=torch.int64))
        self.register_buffer('epoch', torch.zeros((), dtype=torch.int64))
        self.register_buffer('adaptive', torch.zeros(()))  # the weight of this epoch
        self._used: dict[str, Tensor] = {}

    def forward(self, tasks: dict[str, Tensor], progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the weighted sum of its tasks, a scalar, and each one's weight."""
        if self.training:
            others = torch.stack([loss.detach() for name, loss in tasks.items() if name not in self.growing])
            self._remember(others.to(torch.promote_types(others.dtype, torch.float32)).sum(), progress)
        weights = {name: tasks[name].new_ones(()) for name in self.task_names}
        for name, curve in self.growing.items():
            weights[name] = self._weight(curve, progress).to(tasks[name])
        self._used = {name: weights[name] for name in self.growing}
        return torch.stack([weights[name] * tasks[name] for name in self.task_names]).sum(), weights

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """Returns the `lambda` of each task that warms up, as used last."""
        return {'lambda': self._used} if self._used else {}

    def _remember(self, others: Tensor, progress: Progress) -> None:
        # in tensors throughout: asking for a value here would make a GPU wait in every step
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
