"""Task weights learned as homoscedastic uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vireid.core.types import Progress
from vireid.errors import Mismatch, WrongValue
from vireid.plugins.weighters.fixed import require_known


class HomoscedasticUncertainty(nn.Module):
    """Weighs each task by its learned noise (DMCF Eq. 15; Kendall et al., 2018, arXiv 1705.07115).

    With s_i = log(sigma_i^2), initialized to 0 (sigma_i = 1), the total is the sum of exp(-s_i) / 2 * L_i + s_i / 2.
    For constant losses its minimum is at sigma_i^2 = L_i. Before `start`, the total is the plain sum and s_i is not
    updated: DMCF switches the weighting on once the model has converged.

    The s_i are clamped to `bounds` before each use, not inside the formula, so an s_i at a bound keeps its full
    gradient and can leave the bound again.

    Args:
        task_names: the tasks to weigh.
        tasks: the same tasks, stated in the config; it must list all of them. None means all.
        start: when the weighting starts, in the unit of `by`; 0 means from the first step.
        by: `fraction` (of the whole run; the last step is always weighted), `epoch` or `step`.
        bounds: smallest and largest s_i.
        training: length of the run, to reject a start after its end; None disables the check.
        steps_per_epoch: number of steps per epoch, if known, for the same check.

    Raises:
        VireidError: if `tasks` differs from the heads' tasks, `start` is never reached, or `bounds` exclude 0.
    """

    begun: Tensor

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
                raise Mismatch(
                    f'no weighter has the task {name!r}: tasks is {tuple(tasks)}',
                    todo=f'add {name!r} to tasks, or weigh it with another weighter in Composed',
                )
        if not bounds[0] <= 0 <= bounds[1] or bounds[0] == bounds[1]:
            raise WrongValue(f'bounds is {tuple(bounds)}', allowed='two different numbers, one <= 0 and one >= 0')
        last = _last(by, training, steps_per_epoch)
        if not 0 <= start < math.inf or start > last:
            end = f', but the last step of the run starts at {last:g}' if start > last and by != 'fraction' else ''
            raise WrongValue(
                f'start is {start:g} by {by}{end}',
                allowed='0 to 1 (exclusive)' if by == 'fraction' else f'a number of {by}s from 0, before the last step',
                todo='start earlier, or use Fixed to keep constant weights' if start > 0 else None,
            )
        self.task_names, self.start, self.by, self.bounds = tuple(task_names), start, by, tuple(bounds)
        self.log_variance = nn.Parameter(torch.zeros(len(self.task_names)))  # s
        # once started it stays on, even if the run is resumed with more steps and `start` would be later
        self.register_buffer('begun', torch.zeros((), dtype=torch.bool))
        self._begun = False  # a copy on the host, to avoid a device synchronization in each step
        self.register_load_state_dict_post_hook(_restore_begun)

    def forward(self, tasks: dict[str, Tensor], progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the weighted total, a scalar, and the weight of each task."""
        present = [i for i, name in enumerate(self.task_names) if name in tasks]
        names = [self.task_names[i] for i in present]
        losses = torch.stack([tasks[name] for name in names])  # (T,)
        if not self.started(progress):
            return losses.sum(), {name: losses.new_ones(()) for name in names}
        if self.training and not self._begun:
            self._begun = True
            self.begun.fill_(True)
        self.log_variance.data.clamp_(*self.bounds)
        every = self.log_variance.to(torch.promote_types(losses.dtype, torch.float32))
        s = every if len(names) == len(self.task_names) else torch.stack([every[i] for i in present])
        weights = torch.exp(-s) / 2
        total = (weights * losses + s / 2).sum()
        return total, dict(zip(names, weights.detach(), strict=True))

    def started(self, progress: Progress) -> bool:
        """Returns whether the next step is weighted."""
        if self.by == 'fraction':
            first = min(self.start * progress.total_steps, progress.total_steps - 1)
        else:
            first = self.start * (progress.steps_per_epoch if self.by == 'epoch' else 1)
        return self._begun or progress.step >= first

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """Returns the `sigma` of each task."""
        sigma = torch.exp(self.log_variance.detach().clamp(*self.bounds) / 2)
        return {'sigma': dict(zip(self.task_names, sigma, strict=True))}


def _last(by: str, training: Any, steps_per_epoch: int | None) -> float:
    """Returns the start of the run's last step, in the unit `by`; infinity if it is unknown."""
    epochs, steps = (training.epochs, training.steps) if training is not None else (None, None)
    if steps is None and epochs and steps_per_epoch:
        steps = epochs * steps_per_epoch
    if by == 'fraction':
        return math.nextafter(1, 0)
    if by == 'epoch' and epochs and steps_per_epoch is None:
        return math.nextafter(epochs, 0)  # somewhere before the end
    unit = 1 if by == 'step' else steps_per_epoch
    return (steps - 1) / unit if steps and unit else math.inf


def _restore_begun(module: HomoscedasticUncertainty, keys: object) -> None:
    # at module level, as a pickled model refers to it by name
    module._begun = bool(module.begun)
