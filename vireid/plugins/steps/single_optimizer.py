"""The default step: how one batch updates the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lightning_fabric import Fabric
from torch import nn

from vireid.core.distributed.gather import mean_of
from vireid.core.errors import VireidError
from vireid.core.interfaces import Model, Weighter
from vireid.core.registry.components import Components
from vireid.core.types import Batch, Progress
from vireid.plugins.models.returns import require_tasks
from vireid.plugins.steps.accumulation import split_identities
from vireid.plugins.steps.ema import ExponentialMovingAverage
from vireid.plugins.steps.optimization import GroupConfig, Optimization, OptimizerConfig, ScheduleConfig
from vireid.plugins.steps.skipping import Buffers
from vireid.plugins.steps.weighing import Metrics, plain_metrics, weigh


class SingleOptimizer:
    """One optimizer over named parameter groups, with schedules that multiply.

    Args:
        model: what is trained; its `weighter` adds the tasks up, or they are summed if it has none.
        fabric: places model and optimizer on devices.
        components: where optimizers and schedules are looked up.
        optimizer: config of a torch optimizer, such as dict(type='SGD', lr=0.01, momentum=0.9).
        groups: settings by name pattern, such as {'backbone.*': dict(lr=0.001)}; the first pattern that matches a
            parameter takes it, the rest get the optimizer's own settings.
        schedule: configs of torch schedules, applied one on top of the other, stepped once an epoch or, with
            by='step', once a step.
        clip_norm: largest norm of the gradient; None does not clip.
        accumulate: parts that a batch is taken in, of whole identities each: less memory for the same step, but losses
            that compare images, and BatchNorm, see one part at a time.
        ema: share of the old average that is kept each step, such as 0.999: averaged weights are then scored and saved;
            None scores the weights themselves. BatchNorm's running statistics are the newest ones.
        skip_nonfinite: steps that may be left out because their loss or gradient is not finite; the next one stops.

    Raises:
        VireidError: if a pattern matches no parameter, or a number is out of range.
    """

    resumable = ('clip_norm', 'skip_nonfinite')

    def __init__(
        self,
        model: nn.Module,
        fabric: Fabric,
        components: Components,
        optimizer: OptimizerConfig,
        groups: Mapping[str, GroupConfig] | None = None,
        schedule: Sequence[ScheduleConfig] = (),
        clip_norm: float | None = None,
        accumulate: int = 1,
        ema: float | None = None,
        skip_nonfinite: int = 0,
    ) -> None:
        if accumulate < 1:
            raise VireidError(f'accumulate is {accumulate}', allowed='an integer of at least 1')
        if ema is not None and not 0 < ema < 1:
            raise VireidError(f'ema is {ema}', allowed='a number between 0 and 1, such as 0.999, or None')
        self._weighter: Any = Model.weighter(model)
        # it works on losses that are averaged already, beside the wrapped model: its gradients are alike everywhere
        ignored = [f'weighter.{n}' for n, _ in self._weighter.named_parameters()] if self._weighter is not None else []
        model._ddp_params_and_buffers_to_ignore = ignored  # type: ignore[assignment]
        self.model: Any = fabric.setup_module(model)
        self.model.mark_forward_method('embed')
        self.fabric, self.accumulate, self.skip_nonfinite = fabric, accumulate, skip_nonfinite
        parameters = dict(model.named_parameters())
        self.optimization = Optimization(
            fabric, components, parameters, optimizer, groups, schedule, clip_norm, skip_nonfinite
        )
        self._ema = ExponentialMovingAverage(model, ema) if ema is not None else None

    def __call__(self, batch: Batch, progress: Progress) -> dict[str, Any]:
        """Updates the model on one batch.

        Returns:
            `loss`; by task `tasks` and `weights`; the weighter's own `curves`, such as `sigma`, by task; `lr` of the
            parameters that no pattern of `groups` took; `gradient`, its norm before clipping, if that is looked at. All
            plain floats. If loss or gradient is not finite the model stays as it was, and `skipped` counts the
            steps that were left out, this one included, as long as any may be.
        """
        self.optimization.zero_grad()
        buffers = Buffers(self.model if self.skip_nonfinite else None)
        parts = [batch] if self.accumulate == 1 else split_identities(batch, self.accumulate)
        size = sum(len(found) for found in batch.identities.values())
        metrics: list[tuple[Metrics, float]] = []
        for number, part in enumerate(parts):
            share = sum(len(found) for found in part.identities.values()) / size  # 1 for a batch in one part
            with self.fabric.no_backward_sync(self.model, enabled=number < len(parts) - 1):
                made = self.model(part)
                require_tasks(made, self.model.module)
                tasks = mean_of(made)
                total, weights = weigh(self._weighter, tasks, progress)
                curves = Weighter.curves(self._weighter)()
                self.fabric.backward(total if len(parts) == 1 else total * share)
            found = {'loss': {'loss': total}, 'tasks': tasks, 'weights': weights, **curves}
            metrics.append((found, share))
        record = plain_metrics(metrics)
        if self.optimization.update(self.model, record) and self._ema is not None:
            self._ema.update()
        if 'skipped' in record:
            buffers.restore()
        return record

    @property
    def schedules(self) -> list[Any]:
        """Its torch schedules: the preflight check moves each once."""
        return self.optimization.all_schedules()

    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        """Inside the block the model holds the weights that are scored and saved."""
        if self._ema is None:
            yield
            return
        with self._ema.in_place():
            yield

    def epoch_ended(self, progress: Progress) -> None:
        """Moves the schedules that count epochs."""
        self.optimization.epoch_ended()

    def state_dict(self) -> dict[str, Any]:
        """Returns optimizer and schedules as tensors and plain values."""
        state = self.optimization.state_dict()
        return state if self._ema is None else {**state, 'raw': self._ema.raw()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned.

        Raises:
            VireidError: if it belongs to another optimizer, grouping or schedule.
        """
        self.optimization.load_state_dict(state)
        if self._ema is not None:
            if 'raw' not in state:
                raise VireidError('the checkpoint has no averaged weights', todo='resume with the config of the run')
            self._ema.restore(state['raw'])
