"""Weights learnt from each task's noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vireid.core.errors import VireidError
from vireid.core.types import Progress
from vireid.plugins.weighters.fixed import require_known


class HomoscedasticUncertainty(nn.Module):
    """Weighs each task by its learnt noise (DMCF Eq. 15; Kendall et al., 2018).

    With s_i = log(sigma_i^2), learnt from 0 (sigma_i = 1), the total is the sum of exp(-s_i) / 2 * L_i + s_i / 2; for
    constant losses it is least where sigma_i^2 = L_i. Before `start` the total is the plain sum and s_i stands still:
    DMCF switches it on once the model has converged.

    The s_i are put back into `bounds` before each use and not clipped inside the formula, so that one that came to a
    bound has its full gradient there and leaves as soon as its loss asks for it.

    Args:
        task_names: the tasks it weighs.
        tasks: the same, for a config to say it; they have to be all. None is all of them.
        start: when it begins, in the unit of `by`; 0 is at once.
        by: `fraction` (of the whole run), `epoch` or `step`.
        bounds: least and greatest s_i.
        training: length of the run, to refuse a start after its end; None does not check.
        steps_per_epoch: steps of one epoch, as far as known, for the same purpose.

    Raises:
        VireidError: for tasks that differ from the heads', a start that never comes, or bounds without 0.
    """

    def __init__(
        self,
        task_names: Sequence[str],
        tasks: Sequence[str] | None = None,
        start: float = 0.6,
        by: Literal['fraction', 'epoch', 'step'] = 'fraction',
        bounds: tuple[float, float] = (-2.0, 5.0),
        training: Any = None,
        steps_per_epoch: int | None = None,
    ) -> None:
        super().__init__()
        require_known(tasks or (), task_names)
        for name in task_names:
            if tasks is not None and name not in tasks:
                raise VireidError(
                    f'no weighter covers the task {name!r}: tasks is {tuple(tasks)}',
                    todo=f'add {name!r} to it, or weigh that task with another weighter in Composed',
                )
        if not bounds[0] <= 0 <= bounds[1] or bounds[0] == bounds[1]:
            raise VireidError(f'bounds is {tuple(bounds)}', allowed='a least value up to 0 and a greatest from 0')
        end = _end(by, training, steps_per_epoch)
        if start < 0 or (end is not None and start >= end):
            raise VireidError(
                f'start is {start:g} by {by}' + ('' if start < 0 else f' and the run ends at {end:g}'),
                allowed='0 to 1 (exclusive)' if by == 'fraction' else f'a number of {by}s from 0, below the length',
                todo='' if start < 0 else 'begin earlier, or use Fixed if it shall never begin',
            )
        self.task_names, self.start, self.by, self.bounds = tuple(task_names), start, by, tuple(bounds)
        self.log_variance = nn.Parameter(torch.zeros(len(self.task_names)))  # s

    def forward(self, tasks: dict[str, Tensor], progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the total of its tasks, a scalar, and the factor of each."""
        losses = torch.stack([tasks[name] for name in self.task_names])  # (T,)
        if not self.started(progress):
            return losses.sum(), {name: losses.new_ones(()) for name in self.task_names}
        with torch.no_grad():
            self.log_variance.clamp_(*self.bounds)
        s = self.log_variance.to(torch.promote_types(losses.dtype, torch.float32))
        weights = torch.exp(-s) / 2
        total = (weights * losses + s / 2).sum()
        return total, dict(zip(self.task_names, weights.detach(), strict=True))

    def started(self, progress: Progress) -> bool:
        """Says whether the step about to be made is weighed."""
        units = {'step': 1, 'epoch': progress.steps_per_epoch, 'fraction': progress.total_steps}
        return progress.step >= self.start * units[self.by]

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """Returns each task's `sigma`."""
        sigma = torch.exp(self.log_variance.detach().clamp(*self.bounds) / 2)
        return {'sigma': dict(zip(self.task_names, sigma, strict=True))}


def _end(by: str, training: Any, steps_per_epoch: int | None) -> float | None:
    """Length of the run in the unit, or None if it is not known yet."""
    if by == 'fraction':
        return 1.0
    epochs, steps = getattr(training, 'epochs', None), getattr(training, 'steps', None)
    if by == 'epoch':
        return epochs if epochs is not None or not (steps and steps_per_epoch) else steps / steps_per_epoch
    return steps if steps is not None or not (epochs and steps_per_epoch) else epochs * steps_per_epoch
