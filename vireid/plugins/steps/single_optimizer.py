"""The default training step: one optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn

from vireid.core.registry.components import Components
from vireid.core.types import Batch, Progress
from vireid.errors import Mismatch
from vireid.interfaces import Model, Weighter
from vireid.plugins.models.returns import require_tasks
from vireid.plugins.steps.accumulation import split_identities
from vireid.plugins.steps.ema import ExponentialMovingAverage
from vireid.plugins.steps.optimization import GroupConfig, Optimization, OptimizerConfig, ScheduleConfig
from vireid.plugins.steps.skipping import Buffers
from vireid.plugins.steps.weighing import Metrics, plain_metrics, weigh
from vireid.runtime.gather import mean_of


class SingleOptimizer:
    """One optimizer with parameter groups and LR schedules.

    Args:
        model: the model to train; its `weighter` combines the task losses, which are summed if it has none.
        fabric: places model and optimizer on devices.
        components: registry of optimizers and schedules.
        optimizer: config of a torch optimizer, such as dict(type='SGD', lr=0.01, momentum=0.9).
        groups: optimizer settings by parameter name pattern, such as {'backbone.*': dict(lr=0.001)}. The first matching
            pattern applies; parameters without a match get the settings of `optimizer`.
        schedule: configs of torch LR schedules, whose factors multiply. They are stepped once per epoch or, with
            by='step', once per step.
        clip_norm: maximum gradient norm; None disables clipping.
        accumulate: number of micro-batches per batch for gradient accumulation. Each consists of whole identities. This
            saves memory, but BatchNorm and losses that compare images see one micro-batch at a time.
        ema: EMA decay, such as 0.999. The averaged weights are then evaluated and saved; None disables averaging.
            BatchNorm statistics are not averaged.
        skip_nonfinite: maximum number of steps to skip because their loss or gradient is not finite; after that, such a
            step stops the run.

    Raises:
        VireidError: if a pattern matches no parameter, or the optimizer does not have a setting.
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
        accumulate: Annotated[int, Ge(1)] = 1,
        ema: Annotated[float, Gt(0), Lt(1)] | None = None,
        skip_nonfinite: Annotated[int, Ge(0)] = 0,
    ) -> None:
        if isinstance(fabric.strategy, DDPStrategy) and Model.changes(model):
            # those of a loss or translator with `epochs`, outside them
            fabric.strategy._ddp_kwargs['find_unused_parameters'] = True
        self._weighter: Any = Model.weighter(model)
        # the weighter runs outside the wrapped model, on averaged losses, so its gradients already agree on all ranks
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
        """Updates the model with one batch.

        Returns:
            Plain floats: `loss`; `tasks` and `weights` by task; `curves` of the weighter, such as `sigma`, by task;
            `lr` of the parameters that match no pattern in `groups`; and `gradient`, the norm before clipping, if it
            was computed. If the loss or gradient is not finite, the model is not changed, and `skipped` counts the
            skipped steps, including this one, as long as skipping is allowed.
        """
        batch = replace(batch, progress=progress)  # also where no trainer has set it
        self.optimization.zero_grad()
        buffers = Buffers(self.model if self.skip_nonfinite else None)
        parts = [batch] if self.accumulate == 1 else split_identities(batch, self.accumulate)
        size = sum(len(identities) for identities in batch.identities.values())
        metrics: list[tuple[Metrics, float]] = []
        for number, part in enumerate(parts):
            share = sum(len(identities) for identities in part.identities.values()) / size  # 1 without accumulation
            with self.fabric.no_backward_sync(self.model, enabled=number < len(parts) - 1):
                losses = self.model(part)
                require_tasks(losses, self.model.module)
                tasks = mean_of(losses)
                total, weights = weigh(self._weighter, tasks, progress)
                curves = Weighter.curves(self._weighter)()
                self.fabric.backward(total if len(parts) == 1 else total * share)
            metrics.append(({'loss': {'loss': total}, 'tasks': tasks, 'weights': weights, **curves}, share))
        record = plain_metrics(metrics, self.optimization.clip(self.model))
        if self.optimization.update(record) and self._ema is not None:
            self._ema.update()
        if 'skipped' in record:
            buffers.restore()
        return record

    @property
    def schedules(self) -> list[Any]:
        """The LR schedules; the preflight check steps each once."""
        return self.optimization.all_schedules()

    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        """Loads the weights to evaluate and save into the model for the duration of the block."""
        if self._ema is None:
            yield
            return
        with self._ema.in_place():
            yield

    def epoch_ended(self, progress: Progress) -> None:
        """Steps the schedules that count epochs."""
        self.optimization.epoch_ended()

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the optimizer and the schedules as tensors and plain values."""
        state = self.optimization.state_dict()
        return state if self._ema is None else {**state, 'raw': self._ema.raw()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state that `state_dict` returned.

        Raises:
            Mismatch: if it is of another optimizer, grouping or schedule, or lacks EMA weights that are needed.
        """
        self.optimization.load_state_dict(state)
        if self._ema is not None:
            if 'raw' not in state:
                raise Mismatch('the checkpoint has no EMA weights', todo='resume with the config of the run')
            self._ema.restore(state['raw'])
