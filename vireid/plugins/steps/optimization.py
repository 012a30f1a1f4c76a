"""An optimizer with all that belongs to it: parameter groups, schedules, clipping, loss scale and state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from lightning_fabric import Fabric
from torch import nn

from vireid.core.errors import VireidError, did_you_mean
from vireid.core.registry.components import Components
from vireid.core.registry.schema import ArgumentsOf, Component
from vireid.core.training.nonfinite import is_finite
from vireid.plugins.steps.param_groups import parameter_groups
from vireid.plugins.steps.skipping import is_overflow

OptimizerConfig = Annotated[dict, Component('optimizers')]
GroupConfig = Annotated[dict, ArgumentsOf('optimizer', 'optimizers')]
ScheduleConfig = Annotated[dict, Component('schedules', by=Literal['epoch', 'step'])]


class Optimization:
    """One optimizer over some of a model's parameters.

    Args:
        fabric: places the optimizer on devices.
        components: where optimizers and schedules are looked up.
        parameters: what it optimizes, by name.
        optimizer: config of a torch optimizer.
        groups: settings by name pattern.
        schedule: configs of torch schedules, applied one on top of the other.
        clip_norm: largest norm of the gradient; None does not clip.
        watch: look at every gradient before it is applied, even if it is not clipped.
        where: path of these in the config.

    Raises:
        VireidError: if a pattern matches no parameter, or the optimizer has no such setting.
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
        watch: bool = False,
        where: str = 'step',
    ) -> None:
        self.fabric, self.clip_norm, self.watch = fabric, clip_norm, watch
        params = parameter_groups(parameters, groups or {}, where)
        built = components.build('optimizers', optimizer, where=f'{where}.optimizer', params=params)
        for pattern, settings in (groups or {}).items():
            for key in settings:
                if key not in built.defaults:  # torch takes any key and uses none it does not know
                    raise VireidError(
                        f'{where}.groups.{pattern}.{key}: {optimizer["type"]} has no setting {key!r}'
                        f'{did_you_mean(key, built.defaults)}',
                        allowed=', '.join(built.defaults),
                    )
        # the schedules read the learning rates before Fabric wraps the optimizer
        self.schedules: dict[str, list[Any]] = {'epoch': [], 'step': []}
        for position, entry in enumerate(schedule):
            place, by = f'{where}.schedule.{position}', entry.get('by', 'epoch')
            if by not in self.schedules:
                raise VireidError(f'{place}.by is {by!r}', allowed="'epoch' or 'step'")
            rest = {key: value for key, value in entry.items() if key != 'by'}
            self.schedules[by].append(components.build('schedules', rest, where=place, optimizer=built))
        self.optimizer: Any = fabric.setup_optimizers(built)

    def zero_grad(self) -> None:
        """Forgets the gradients of its parameters."""
        self.optimizer.zero_grad(set_to_none=True)

    def update(self, module: nn.Module, record: dict[str, Any]) -> tuple[bool, bool]:
        """Applies the gradients, unless they or what is in the record is not finite.

        Args:
            module: what the gradients are of, as Fabric has set it up.
            record: the step's plain metrics; `lr` is added and, if it was looked at, `gradient`, its norm before
                clipping.

        Returns:
            Whether all numbers are finite, and whether the parameters were updated: not so either if 16-mixed has
            scaled the loss up too far.
        """
        record['lr'] = float(self.optimizer.param_groups[-1]['lr'])
        scaler, norm = getattr(self.fabric.strategy.precision, 'scaler', None), None
        if self.clip_norm is not None or self.watch:
            limit = math.inf if self.clip_norm is None else self.clip_norm
            norm = self.fabric.clip_gradients(module, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        overflow = is_overflow(scaler, record['loss'], norm)
        if norm is not None and not overflow:
            record['gradient'] = float(norm)
        finite = is_finite(record)
        if finite:
            self.optimizer.step()  # which the scaler leaves out by itself, if there was an overflow
        elif scaler is not None and norm is not None:
            scaler.update()
        for schedule in self.schedules['step']:
            schedule.step()
        return finite, finite and not overflow

    def epoch_ended(self) -> None:
        """Moves the schedules that count epochs."""
        for schedule in self.schedules['epoch']:
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Returns optimizer and schedules as tensors and plain values."""
        return {
            'optimizer': self.optimizer.state_dict(),
            'schedules': {by: [_plain_state(s) for s in found] for by, found in self.schedules.items()},
            'scaler': self.fabric.strategy.precision.state_dict(),  # of 16-mixed; empty otherwise
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned.

        Raises:
            VireidError: if it belongs to another optimizer, grouping or schedule.
        """
        counts = {by: len(found) for by, found in self.schedules.items()}
        if {by: len(found) for by, found in state['schedules'].items()} != counts:
            raise VireidError('the checkpoint has another schedule', todo='resume with the config of the run')
        try:
            self.optimizer.load_state_dict(state['optimizer'])
        except (ValueError, KeyError) as error:
            raise VireidError(
                f'the checkpoint has another optimizer: {error}', todo='resume with the config of the run'
            ) from error
        for by, found in self.schedules.items():
            for schedule, saved in zip(found, state['schedules'][by], strict=True):
                schedule.load_state_dict({**schedule.state_dict(), **saved})
        self.fabric.strategy.precision.load_state_dict(state.get('scaler', {}))


def _plain_state(schedule: Any) -> dict[str, Any]:
    """The part of a schedule's state that moves; the rest is rebuilt from the config."""
    state = {k: v for k, v in schedule.state_dict().items() if isinstance(v, (int, float, list))}
    return {k: v for k, v in state.items() if not isinstance(v, list) or all(isinstance(x, (int, float)) for x in v)}
