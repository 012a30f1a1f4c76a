"""The settings of several optimizers, and their validation against a model."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge
from torch import nn

from vireid.core.config.parameter_freezing import freeze
from vireid.errors import Conflict, Mismatch, NoMatch, UnknownName, VireidError, WrongValue, did_you_mean
from vireid.interfaces import Model
from vireid.plugins.steps.optimization import GroupConfig, OptimizerConfig, ScheduleConfig


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
        identities: number of identities of each batch to use; None uses the whole batch.
    """

    parameters: list[str]
    tasks: list[str]
    optimizer: OptimizerConfig
    groups: dict[str, GroupConfig] = field(default_factory=dict)
    schedule: list[ScheduleConfig] = field(default_factory=list)
    clip_norm: float | None = None
    skip_nonfinite: Annotated[int, Ge(0)] = 0
    identities: Annotated[int, Ge(1)] | None = None


def tasks_of(name: str, patterns: Sequence[str], tasks: Iterable[str]) -> list[str]:
    """Returns the tasks that match any pattern of an optimizer.

    Args:
        name: name of the optimizer, for messages.
        patterns: its patterns, such as `critic*`.
        tasks: the tasks of the model.

    Raises:
        NoMatch: if there is none.
    """
    known = list(tasks)
    own = [task for task in known if any(fnmatch.fnmatchcase(task, pattern) for pattern in patterns)]
    if not own:
        shown = ', '.join(map(repr, patterns)) or 'an empty list'
        text = f'step.optimizers.{name}.tasks: {shown} matches no task{did_you_mean("".join(patterns[:1]), known)}'
        raise NoMatch(text, allowed=', '.join(known))
    return own


def matching(model: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Parameter]:
    """Returns the trainable parameters whose names match any pattern."""
    return {
        name: p
        for name, p in model.named_parameters()
        if p.requires_grad and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }


def freeze_all_but(model: nn.Module, claimed: set[str]) -> None:
    """Freezes every parameter that is not claimed; modules without a claimed one also stay in eval mode."""
    owned: dict[str, set[str]] = {}
    for name, _ in model.named_parameters():
        places = name.split('.')
        for depth in range(1, len(places) + 1):
            owned.setdefault('.'.join(places[:depth]), set()).add(name)
    freeze(model, [place for place, names in owned.items() if not names & claimed])


def find_problems(
    model: nn.Module, settings: Mapping[str, OptimizerSettings], order: Sequence[str | Sequence[str]] | None
) -> list[VireidError]:
    """Returns what is wrong with the settings of several optimizers.

    Args:
        model: the model that they train.
        settings: the settings of each optimizer by name.
        order: the turns, each the name of an optimizer or several names; None is one turn of all.
    """
    errors = []
    tops = ', '.join(f"'{top}.*'" for top in sorted({name.split('.')[0] for name, _ in model.named_parameters()}))
    owners: dict[str, list[str]] = {name: [] for name, p in model.named_parameters() if p.requires_grad}
    tasks: list[str] = list(Model.task_names(model) or ())
    lowered: set[str] = set()
    for name, own in settings.items():
        if tasks:
            try:
                lowered |= set(tasks_of(name, own.tasks, tasks))
            except VireidError as error:
                errors.append(error)
        for pattern in own.parameters:
            if not (matched := matching(model, [pattern])):
                text = f'step.optimizers.{name}.parameters: the pattern {pattern!r} matches no parameter'
                errors.append(NoMatch(text, allowed=f'patterns such as {tops}'))
            for parameter in matched:
                if name not in owners[parameter]:
                    owners[parameter].append(name)
    if twice := [parameter for parameter, names in owners.items() if len(names) > 1]:
        names = ' and '.join(f'step.optimizers.{name}' for name in owners[twice[0]])
        text = f'{names} both claim {twice[0]}{_others(twice)}'
        errors.append(Conflict(text, todo='narrow the patterns of one', path='step.optimizers'))
    if free := [parameter for parameter, names in owners.items() if not names]:
        text = f'step.optimizers: no optimizer claims {free[0]}{_others(free)}'
        allowed, todo = f'patterns such as {tops}', 'add a pattern, or freeze them: step.freeze_rest=True'
        errors.append(Mismatch(text, allowed=allowed, todo=todo, path='step.optimizers'))
    for position, turn in enumerate(order if order is not None else ()):
        for name in (turn,) if isinstance(turn, str) else turn:
            if name not in settings:
                text = f'step.order.{position}: there is no optimizer {name!r}{did_you_mean(name, settings)}'
                errors.append(UnknownName(text, allowed=', '.join(settings)))
    turns = [name for turn in order or () for name in ((turn,) if isinstance(turn, str) else turn)]
    if rest := [name for name in settings if order and name not in turns]:
        text = f'step.order never names {", ".join(rest)}, which would not be trained'
        errors.append(Mismatch(text, todo='give it a turn, or remove it from step.optimizers'))
    if not errors and (free_tasks := [task for task in tasks if task not in lowered]):
        text = f'step.optimizers: no optimizer minimizes the task {", ".join(free_tasks)}'
        errors.append(Mismatch(text, todo='add it to the tasks of an optimizer, or remove its losses (=None)'))
    named = [(turn,) if isinstance(turn, str) else turn for turn in order or [tuple(settings)]]
    for turn in named:
        counts = {settings[name].identities for name in turn if name in settings}
        if len(counts) > 1:
            text = f'step.optimizers: {", ".join(turn)} share a turn but use different numbers of identities'
            errors.append(Conflict(text, todo='give them separate turns in step.order', path='step.optimizers'))
    empty = [i for i, turn in enumerate(order or ()) if not turn]
    if order is not None and (not len(order) or empty):
        place = f'step.order.{empty[0]}' if empty else 'step.order'
        errors.append(WrongValue(f'{place} is empty', todo='name the optimizers of this turn', path=place))
    weighter = Model.weighter(model)
    if weighter is not None and any(p.requires_grad for p in weighter.parameters()):
        errors.append(
            Conflict(
                f'step: MultipleOptimizers cannot train the weighter {type(weighter).__name__}',
                todo='use a weighter without parameters, such as Fixed, or use SingleOptimizer',
                path='step',
            )
        )
    if not settings:
        errors.append(WrongValue('step.optimizers is empty', todo='add at least one optimizer', path='step.optimizers'))
    return errors


def _others(names: Sequence[str]) -> str:
    return f' and {len(names) - 1} more' if len(names) > 1 else ''
