"""An optimizer with its parameter groups, LR schedules, gradient clipping, loss scaling and state."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor, nn

from vireid.core.registry.components import Components
from vireid.core.registry.schema import ArgumentsOf, Component
from vireid.core.training.nonfinite import is_finite
from vireid.errors import Mismatch, UnknownKey, WrongValue, did_you_mean
from vireid.plugins.steps.param_groups import parameter_groups
from vireid.plugins.steps.skipping import is_overflow

OptimizerConfig = Annotated[dict, Component('optimizers')]
GroupConfig = Annotated[dict, ArgumentsOf('optimizer', 'optimizers')]
ScheduleConfig = Annotated[dict, Component('schedules', by=Literal['epoch', 'step'])]


class Optimization:
    """One optimizer over some of a model's parameters.

    Args:
        fabric: places the optimizer on devices.
        components: registry of optimizers and schedules.
        parameters: the parameters to optimize, by name.
        optimizer: config of a torch optimizer.
        groups: optimizer settings by parameter name pattern.
        schedule: configs of torch LR schedules, which are combined.
        clip_norm: maximum gradient norm; None disables clipping.
        skip_nonfinite: maximum number of steps to skip because their loss or gradient is not finite.
        own_scaler: with 16-mixed, whether to use a separate loss scaler instead of the one shared by all optimizers.
        where: config path of these settings.

    Raises:
        VireidError: if a pattern matches no parameter, or the optimizer does not have a setting.
    """

    def __init__(
        self,
        fabric: Fabric,
        components: Components,
        parameters: Mapping[str, nn.Parameter],
        optimizer: Mapping[str, Any],
        groups: Mapping[str, dict] | None = None,
        schedule: Sequence[Mapping[str, Any]] = (),
        clip_norm: float | None = None,
        skip_nonfinite: int = 0,
        own_scaler: bool = False,
        where: str = 'step',
    ) -> None:
        self.fabric, self.clip_norm = fabric, clip_norm
        self.skip_nonfinite, self.skipped = skip_nonfinite, 0
        self._scaler = copy.deepcopy(_loss_scaler(fabric)) if own_scaler else None
        params = parameter_groups(parameters, groups or {}, where)
        built = components.build('optimizers', optimizer, where=f'{where}.optimizer', params=params)
        for pattern, settings in (groups or {}).items():
            for key in settings:
                if key not in built.defaults:  # torch accepts unknown keys and ignores them
                    raise UnknownKey(
                        f'{where}.groups.{pattern}.{key}: {optimizer["type"]} has no setting {key!r}'
                        f'{did_you_mean(key, built.defaults)}',
                        allowed=', '.join(built.defaults),
                        path=f'{where}.groups.{pattern}.{key}',
                    )
        # before Fabric wraps the optimizer, as the schedules need the torch optimizer
        self.schedules: dict[str, list[Any]] = {'epoch': [], 'step': []}
        for position, entry in enumerate(schedule):
            place, by = f'{where}.schedule.{position}', entry.get('by', 'epoch')
            if by not in self.schedules:
                raise WrongValue(f'{place}.by is {by!r}', allowed="'epoch' or 'step'", path=f'{place}.by')
            rest = {key: value for key, value in entry.items() if key != 'by'}
            self.schedules[by].append(components.build('schedules', rest, where=place, optimizer=built))
        self.optimizer: Any = fabric.setup_optimizers(built)

    def zero_grad(self) -> None:
        """Resets the gradients of its parameters."""
        self.optimizer.zero_grad(set_to_none=True)

    def clip(self, module: nn.Module) -> Tensor | None:
        """Clips the gradients of its parameters, without waiting for the device.

        Args:
            module: the model as set up by Fabric.

        Returns:
            The norm of the gradients before clipping, (); None if neither clipping nor skipping needs it.
        """
        if self.clip_norm is None and not self.skip_nonfinite:
            return None
        limit = math.inf if self.clip_norm is None else self.clip_norm
        with self.scaling():
            norm = self.fabric.clip_gradients(module, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        return None if norm is None else norm.to(self.fabric.device)  # without gradients, it is on the CPU

    def update(self, record: dict[str, Any]) -> bool:
        """Applies the gradients if they and the recorded metrics are finite, and steps the per-step schedules.

        Args:
            record: the step's plain metrics, with `gradient` if `clip` returned a norm. This method adds `lr`, and
                `skipped`, the number of skipped steps so far, if this step is skipped. It removes `gradient` if only
                the loss scale was too large.

        Returns:
            Whether the parameters were updated.
        """
        record['lr'] = float(self.optimizer.param_groups[-1]['lr'])
        with self.scaling():
            scaler, clipped = _loss_scaler(self.fabric), 'gradient' in record
            overflow = is_overflow(scaler, record['loss'], record.get('gradient'))
            if overflow:
                del record['gradient']
            finite = is_finite(record)
            if finite:
                self.optimizer.step()  # skipped by the scaler after an overflow
            elif scaler is not None and clipped:
                scaler.update()
        with warnings.catch_warnings():  # schedules advance with the run, whether or not this step was applied
            warnings.filterwarnings('ignore', r'Detected call of `lr_scheduler\.step\(\)` before')
            for schedule in self.schedules['step']:
                schedule.step()
        if not finite and self.skipped < self.skip_nonfinite:
            self.skipped += 1
            record['skipped'] = self.skipped
        return finite and not overflow

    @contextmanager
    def scaling(self) -> Iterator[None]:
        """Makes Fabric use this optimizer's own loss scaler within the block, if it has one."""
        if self._scaler is None:
            yield
            return
        precision: Any = self.fabric.strategy.precision
        shared, precision.scaler = precision.scaler, self._scaler
        try:
            yield
        finally:
            precision.scaler = shared

    def all_schedules(self) -> list[Any]:
        """Returns its LR schedules."""
        return [*self.schedules['epoch'], *self.schedules['step']]

    def epoch_ended(self) -> None:
        """Steps the schedules that count epochs."""
        for schedule in self.schedules['epoch']:
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the optimizer and the schedules as tensors and plain values."""
        with self.scaling():
            scaler = self.fabric.strategy.precision.state_dict()  # empty unless 16-mixed
        return {
            'optimizer': self.optimizer.state_dict(),
            'schedules': {by: [_plain_state(s) for s in schedules] for by, schedules in self.schedules.items()},
            'scaler': scaler,
            'skipped': self.skipped,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state that `state_dict` returned.

        Raises:
            Mismatch: if it is of another optimizer, grouping or schedule.
        """
        counts = {by: len(schedules) for by, schedules in self.schedules.items()}
        if {by: len(saved) for by, saved in state['schedules'].items()} != counts:
            raise Mismatch('the checkpoint has another schedule', todo='resume with the config of the run')
        try:
            self.optimizer.load_state_dict(state['optimizer'])
        except (ValueError, KeyError) as error:
            raise Mismatch(
                f'the checkpoint has another optimizer: {error}', todo='resume with the config of the run'
            ) from error
        for by, schedules in self.schedules.items():
            for schedule, saved in zip(schedules, state['schedules'][by], strict=True):
                schedule.load_state_dict({**schedule.state_dict(), **saved})
        with self.scaling():
            self.fabric.strategy.precision.load_state_dict(state.get('scaler', {}))
        self.skipped = int(state.get('skipped', 0))


def _loss_scaler(fabric: Fabric) -> Any:
    """Returns Fabric's loss scaler; None unless the precision is 16-mixed."""
    precision = fabric.strategy.precision
    return precision.scaler if isinstance(precision, MixedPrecision) else None


def _plain_state(schedule: Any) -> dict[str, Any]:
    """Returns the part of a schedule's state that changes; the rest is rebuilt from the config."""
    state = {k: v for k, v in schedule.state_dict().items() if isinstance(v, (int, float, list))}
    return {k: v for k, v in state.items() if not isinstance(v, list) or all(isinstance(x, (int, float)) for x in v)}
