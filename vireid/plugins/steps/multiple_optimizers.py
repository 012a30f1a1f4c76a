"""A step with several named optimizers, each with its own parameters and tasks, such as for adversarial training."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor, nn

from vireid.core.distributed.gather import mean_of
from vireid.core.distributed.processes import world
from vireid.core.errors import VireidError, did_you_mean, raise_all
from vireid.core.registry.components import Components
from vireid.core.registry.schema import Section
from vireid.core.training.nonfinite import is_finite
from vireid.core.types import Batch, Progress
from vireid.interfaces import Model
from vireid.plugins.models.returns import require_tasks
from vireid.plugins.steps.optimization import GroupConfig, Optimization, OptimizerConfig, ScheduleConfig
from vireid.plugins.steps.skipping import Buffers
from vireid.plugins.steps.weighing import plain_metrics, weigh


@dataclass(frozen=True)
class OptimizerSettings:
    """One of several optimizers.

    Attributes:
        parameters: name patterns of the parameters it updates, such as 'backbone.*'.
        tasks: name patterns of the tasks whose weighted losses it minimizes.
        optimizer: config of a torch optimizer.
        groups: optimizer settings by parameter name pattern.
        schedule: configs of torch LR schedules, as for `SingleOptimizer`.
        clip_norm: maximum gradient norm; None disables clipping.
        skip_nonfinite: maximum number of updates to skip because their loss or gradient is not finite.
    """

    parameters: list[str]
    tasks: list[str]
    optimizer: OptimizerConfig
    groups: dict[str, GroupConfig] = field(default_factory=dict)
    schedule: list[ScheduleConfig] = field(default_factory=list)
    clip_norm: float | None = None
    skip_nonfinite: int = 0


class MultipleOptimizers:
    """Several optimizers, each with its own parameters and tasks, updating together or in turns.

    Each step is one forward pass and one turn. The optimizers of a turn share the forward pass, and each receives only
    the gradients of its tasks with respect to its parameters. All other parameters are frozen for the step, so no
    activations are kept for their gradients.

    Args:
        model: the model to train; its `weighter` weighs the tasks.
        fabric: places model and optimizers on devices.
        components: registry of optimizers and schedules.
        optimizers: settings of each optimizer, by name.
        order: the turns, one per step, repeated: `['critic', 'critic', 'network']` updates the network in every third
            step. A nested list names several optimizers for one turn. None updates all optimizers in every step.

    Raises:
        VireidError: if a parameter belongs to several optimizers or to none, a name does not exist, or the settings are
            invalid; reports all errors.
    """

    resumable = ('optimizers.*.clip_norm', 'optimizers.*.skip_nonfinite')

    def __init__(
        self,
        model: nn.Module,
        fabric: Fabric,
        components: Components,
        optimizers: dict[str, Annotated[dict, Section(OptimizerSettings)]],
        order: Sequence[str | Sequence[str]] | None = None,
    ) -> None:
        settings = {name: OptimizerSettings(**given) for name, given in optimizers.items()}
        raise_all(_problems(model, settings, order))
        self._weighter: Any = Model.weighter(model)
        self.order = [(turn,) if isinstance(turn, str) else tuple(turn) for turn in order or [tuple(settings)]]
        self.fabric, self.tasks = fabric, {name: own.tasks for name, own in settings.items()}
        self.parameters = {name: _matching(model, own.parameters) for name, own in settings.items()}
        self.model: Any = fabric.setup_module(model)
        self.model.mark_forward_method('embed')
        self.optimizations = {
            name: Optimization(
                fabric, components, self.parameters[name], own.optimizer, own.groups, own.schedule, own.clip_norm,
                own.skip_nonfinite, own_scaler=True, where=f'step.optimizers.{name}',
            )
            for name, own in settings.items()
        }  # fmt: skip

    def __call__(self, batch: Batch, progress: Progress) -> dict[str, Any]:
        """Runs the turn of this step.

        Returns:
            `loss`, summed over the optimizers of the turn; `tasks` and `weights` of all tasks; and in `curves`, for
            each optimizer of the turn, `loss of`, `lr` and, if it was computed, `gradient`. An optimizer with a
            non-finite value is not updated; `skipped` counts the skipped updates as long as skipping is allowed.
        """
        turn = self.order[progress.step % len(self.order)]
        buffers = Buffers(self.model if any(self.optimizations[n].skip_nonfinite for n in turn) else None)
        # `average_gradients` replaces the synchronization of DDP
        with self._freeze_except(turn), self.fabric.no_backward_sync(self.model):
            losses = self.model(batch)
            require_tasks(losses, self.model.module)
            tasks = mean_of(losses)
            weights = weigh(self._weighter, tasks, progress)[1]
            totals = {name: self._total(name, tasks, weights) for name in turn}
            for name, total in totals.items():
                optimization, parameters = self.optimizations[name], list(self.parameters[name].values())
                optimization.zero_grad()
                if not total.requires_grad:
                    raise VireidError(
                        f'step.optimizers.{name}.tasks: {", ".join(self.tasks[name])} do not depend on its parameters',
                        todo='add the parameters that these tasks depend on, or change the tasks',
                        path=f'step.optimizers.{name}.tasks',
                    )
                with optimization.scaling():
                    self.fabric.backward(total, inputs=parameters, retain_graph=name != turn[-1])
                average_gradients(parameters)
        metrics = {'loss': {'loss': torch.stack(list(totals.values())).sum()}, 'tasks': tasks, 'weights': weights}
        record = plain_metrics([({**metrics, 'loss of': totals}, 1.0)])
        records = {name: {'loss': record['curves']['loss of'][name]} for name in turn}
        for name, own in records.items():
            self.optimizations[name].update(self.model, own)
        for key in ('lr', 'gradient'):
            if any(key in own for own in records.values()):
                record['curves'][key] = {name: own[key] for name, own in records.items() if key in own}
        record['lr'] = records[turn[0]]['lr']
        bad = [own for own in records.values() if not is_finite(own)]
        if bad and all('skipped' in own for own in bad):
            record['skipped'] = sum(optimization.skipped for optimization in self.optimizations.values())
            buffers.restore()
        elif bad and 'gradient' in bad[0]:
            record['gradient'] = bad[0]['gradient']  # not finite, so the run stops
        return record

    @property
    def schedules(self) -> list[Any]:
        """All LR schedules; the preflight check steps each once."""
        return [schedule for own in self.optimizations.values() for schedule in own.all_schedules()]

    def epoch_ended(self, progress: Progress) -> None:
        """Steps the schedules that count epochs."""
        for optimization in self.optimizations.values():
            optimization.epoch_ended()

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of each optimizer. The turn follows from the step."""
        return {name: optimization.state_dict() for name, optimization in self.optimizations.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state that `state_dict` returned.

        Raises:
            VireidError: if it is of other optimizers.
        """
        if set(state) != set(self.optimizations):
            raise VireidError(
                f'the optimizers of the checkpoint are {", ".join(state) or "none"}',
                allowed=', '.join(self.optimizations),
                todo='resume with the config of the run',
            )
        for name, optimization in self.optimizations.items():
            optimization.load_state_dict(state[name])

    def _total(self, name: str, tasks: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        own = _tasks_of(name, self.tasks[name], tasks)
        return torch.stack([weights[task] * tasks[task] for task in own]).sum()  # ()

    @contextmanager
    def _freeze_except(self, turn: Sequence[str]) -> Iterator[None]:
        """Freezes, within the block, the parameters of all optimizers outside the turn."""
        others = [p for name, own in self.parameters.items() if name not in turn for p in own.values()]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in others:
                parameter.requires_grad_(True)


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Averages gradients over processes, as DDP does for one optimizer; a gradient that no process has stays None."""
    if world()[1] == 1:
        return
    counts = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
    dist.all_reduce(counts)
    reached = [p for p, count in zip(parameters, counts.tolist(), strict=True) if count]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in reached])
    dist.all_reduce(flat)
    flat /= world()[1]
    for parameter, part in zip(reached, flat.split([p.numel() for p in reached]), strict=True):
        parameter.grad = part.view_as(parameter)


def _tasks_of(name: str, patterns: Sequence[str], tasks: Iterable[str]) -> list[str]:
    """Returns the tasks that match any pattern of an optimizer.

    Raises:
        VireidError: if there is none.
    """
    known = list(tasks)
    own = [task for task in known if any(fnmatch.fnmatchcase(task, pattern) for pattern in patterns)]
    if not own:
        shown = ', '.join(map(repr, patterns)) or 'an empty list'
        text = f'step.optimizers.{name}.tasks: {shown} matches no task{did_you_mean("".join(patterns[:1]), known)}'
        raise VireidError(text, allowed=', '.join(known))
    return own


def _matching(model: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Parameter]:
    """Returns the trainable parameters whose names match any pattern."""
    return {
        name: p
        for name, p in model.named_parameters()
        if p.requires_grad and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }


def _problems(
    model: nn.Module, settings: Mapping[str, OptimizerSettings], order: Sequence[str | Sequence[str]] | None
) -> list[VireidError]:
    errors = []
    tops = ', '.join(f"'{top}.*'" for top in sorted({name.split('.')[0] for name, _ in model.named_parameters()}))
    owners: dict[str, list[str]] = {name: [] for name, p in model.named_parameters() if p.requires_grad}
    tasks: list[str] = list(Model.task_names(model) or ())
    lowered: set[str] = set()
    for name, own in settings.items():
        if tasks:
            try:
                lowered |= set(_tasks_of(name, own.tasks, tasks))
            except VireidError as error:
                errors.append(error)
        for pattern in own.parameters:
            if not (matched := _matching(model, [pattern])):
                text = f'step.optimizers.{name}.parameters: the pattern {pattern!r} matches no parameter'
                errors.append(VireidError(text, allowed=f'patterns such as {tops}'))
            for parameter in matched:
                if name not in owners[parameter]:
                    owners[parameter].append(name)
    if twice := [parameter for parameter, names in owners.items() if len(names) > 1]:
        names = ' and '.join(f'step.optimizers.{name}' for name in owners[twice[0]])
        text = f'{names} both claim {twice[0]}{_others(twice)}'
        errors.append(VireidError(text, todo='narrow the patterns of one', path='step.optimizers'))
    if free := [parameter for parameter, names in owners.items() if not names]:
        text = f'step.optimizers: no optimizer claims {free[0]}{_others(free)}'
        allowed, todo = f'patterns such as {tops}', 'add a pattern, or freeze it'
        errors.append(VireidError(text, allowed=allowed, todo=todo, path='step.optimizers'))
    for position, turn in enumerate(order if order is not None else ()):
        for name in (turn,) if isinstance(turn, str) else turn:
            if name not in settings:
                text = f'step.order.{position}: there is no optimizer {name!r}{did_you_mean(name, settings)}'
                errors.append(VireidError(text, allowed=', '.join(settings)))
    turns = [name for turn in order or () for name in ((turn,) if isinstance(turn, str) else turn)]
    if rest := [name for name in settings if order and name not in turns]:
        text = f'step.order never names {", ".join(rest)}, which would not be trained'
        errors.append(VireidError(text, todo='give it a turn, or remove it from step.optimizers'))
    if not errors and (free_tasks := [task for task in tasks if task not in lowered]):
        text = f'step.optimizers: no optimizer minimizes the task {", ".join(free_tasks)}'
        errors.append(VireidError(text, todo='add it to the tasks of an optimizer, or remove its losses (=None)'))
    empty = [i for i, turn in enumerate(order or ()) if not turn]
    if order is not None and (not len(order) or empty):
        place = f'step.order.{empty[0]}' if empty else 'step.order'
        errors.append(VireidError(f'{place} is empty', todo='name the optimizers of this turn', path=place))
    if any(p.requires_grad for p in getattr(model.weighter, 'parameters', list)()) if hasattr(model, 'weighter') else 0:
        errors.append(
            VireidError(
                f'step: MultipleOptimizers cannot train the weighter {type(model.weighter).__name__}',
                todo='use a weighter without parameters, such as Fixed, or use SingleOptimizer',
                path='step',
            )
        )
    if not settings:
        errors.append(
            VireidError('step.optimizers is empty', todo='add at least one optimizer', path='step.optimizers')
        )
    return errors


def _others(names: Sequence[str]) -> str:
    return f' and {len(names) - 1} more' if len(names) > 1 else ''
