"""A step with several named optimizers, each with its own parameters and tasks, such as for adversarial training."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor, nn

from vireid.core.registry.components import Components
from vireid.core.registry.schema import Section
from vireid.core.registry.signature import names_argument
from vireid.core.training.nonfinite import is_finite
from vireid.core.types import Batch, Progress
from vireid.errors import Mismatch, raise_all
from vireid.interfaces import Model
from vireid.plugins.models.returns import require_tasks
from vireid.plugins.steps.accumulation import first_identities
from vireid.plugins.steps.optimization import Optimization
from vireid.plugins.steps.optimizer_settings import (
    OptimizerSettings,
    find_problems,
    freeze_all_but,
    matching,
    tasks_of,
)
from vireid.plugins.steps.skipping import Buffers
from vireid.plugins.steps.weighing import plain_metrics, weigh
from vireid.runtime.gather import mean_of
from vireid.runtime.processes import world


class MultipleOptimizers:
    """Several optimizers, each with its own parameters and tasks, updating together or in turns.

    A turn is one forward pass, which runs only what its tasks need, if the model supports that. The optimizers of a
    turn share it, and each receives only the gradients of its tasks with respect to its parameters. All other
    parameters are frozen, so no activations are kept for their gradients, and the BatchNorm statistics and other
    buffers of their modules do not change.

    Args:
        model: the model to train; its `weighter` weighs the tasks.
        fabric: places model and optimizers on devices.
        components: registry of optimizers and schedules.
        optimizers: settings of each optimizer, by name.
        order: the turns, one per step, repeated: `['critic', 'critic', 'network']` updates the network in every third
            step. A nested list names several optimizers for one turn. None updates all optimizers in every step.
        all_turns: run all turns of `order` in each step, one after the other, on the same batch.
        freeze_rest: freeze the parameters that no optimizer claims. By default they are an error.

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
        all_turns: bool = False,
        freeze_rest: bool = False,
    ) -> None:
        settings = {name: OptimizerSettings(**given) for name, given in optimizers.items()}
        if freeze_rest:
            freeze_all_but(model, {name for own in settings.values() for name in matching(model, own.parameters)})
        raise_all(find_problems(model, settings, order))
        self._weighter: Any = Model.weighter(model)
        turns = [(turn,) if isinstance(turn, str) else tuple(turn) for turn in order or [tuple(settings)]]
        self.order = [tuple(turns)] if all_turns else [(turn,) for turn in turns]
        self._named = len(set(self.order)) > 1  # the loss of one turn is not comparable with that of another
        self._takes_tasks = names_argument(model, 'tasks') and Model.task_names(model) is not None
        self._identities = {name: own.identities for name, own in settings.items()}
        self._outside: dict[tuple[str, ...], set[str]] = {}
        self.fabric, self.tasks = fabric, {name: own.tasks for name, own in settings.items()}
        self.parameters = {name: matching(model, own.parameters) for name, own in settings.items()}
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
        """Runs the turns of this step.

        Returns:
            `loss`, summed over the optimizers of the turns; `turn`, the optimizers, if it differs between steps;
            `tasks` and `weights` of the tasks that were computed; and in `curves`, for each optimizer, `loss of`, `lr`
            and, if it was computed, `gradient`. An optimizer with a non-finite value is not updated; `skipped` counts
            the skipped updates as long as skipping is allowed.
        """
        batch = replace(batch, progress=progress)  # also where no trainer has set it
        turns = self.order[progress.step % len(self.order)]
        record: dict[str, Any] = {}
        for turn in turns:
            own = self._turn(turn, batch, progress)
            curves = {key: {**record.get('curves', {}).get(key, {}), **values} for key, values in own['curves'].items()}
            merged = {key: {**record.get(key, {}), **own[key]} for key in ('tasks', 'weights')}
            loss = record.get('loss', 0.0) + own['loss']
            curves = {**record.get('curves', {}), **curves}
            record = {**own, **record, **merged, 'curves': curves, 'loss': loss}
            if not is_finite(record):
                break
        return {**record, 'turn': ' + '.join(turns[0])} if self._named else record

    def _turn(self, turn: Sequence[str], batch: Batch, progress: Progress) -> dict[str, Any]:
        """Updates the optimizers of one turn; returns its record."""
        buffers = Buffers(self.model if any(self.optimizations[n].skip_nonfinite for n in turn) else None)
        unmoved = Buffers(self.model.module, self._buffers_outside(turn))
        if count := self._identities[turn[0]]:
            batch = first_identities(batch, count)
        # `average_gradients` replaces the synchronization of DDP
        with self._freeze_except(turn), self.fabric.no_backward_sync(self.model):
            losses = self.model(batch, **({'tasks': self._tasks_of(turn)} if self._takes_tasks else {}))
            require_tasks(losses, self.model.module)
            tasks = mean_of(losses)
            weights = weigh(self._weighter, tasks, progress)[1]
            # outside the epochs of its losses, an optimizer has nothing to minimize
            active = [name for name in turn if not self._takes_tasks or self._tasks_of([name]) & tasks.keys()]
            totals = {name: self._total(name, tasks, weights) for name in active}
            self._require_claimed(losses)
            for name, total in totals.items():
                optimization, parameters = self.optimizations[name], list(self.parameters[name].values())
                optimization.zero_grad()
                if not total.requires_grad:
                    raise Mismatch(
                        f'step.optimizers.{name}.tasks: {", ".join(self.tasks[name])} do not depend on its parameters',
                        todo='add the parameters that these tasks depend on, or change the tasks',
                        path=f'step.optimizers.{name}.tasks',
                    )
                with optimization.scaling():
                    self.fabric.backward(total, inputs=parameters, retain_graph=name != active[-1])
                average_gradients(parameters)
        unmoved.restore()
        norms = {name: norm for name in active if (norm := self.optimizations[name].clip(self.model)) is not None}
        metrics = {'loss': {'loss': torch.stack(list(totals.values())).sum()}, 'tasks': tasks, 'weights': weights}
        record = plain_metrics([({**metrics, 'loss of': totals, 'gradient': norms}, 1.0)])
        curves = record['curves']
        records = {name: {'loss': curves['loss of'][name]} for name in active}
        for name, norm in curves.pop('gradient').items():
            records[name]['gradient'] = norm
        for name, own in records.items():
            self.optimizations[name].update(own)
        for key in ('lr', 'gradient'):
            if any(key in own for own in records.values()):
                curves[key] = {name: own[key] for name, own in records.items() if key in own}
        record['lr'] = records[active[0]]['lr']
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
            Mismatch: if it is of other optimizers.
        """
        if set(state) != set(self.optimizations):
            raise Mismatch(
                f'the optimizers of the checkpoint are {", ".join(state) or "none"}',
                allowed=', '.join(self.optimizations),
                todo='resume with the config of the run',
            )
        for name, optimization in self.optimizations.items():
            optimization.load_state_dict(state[name])

    def _total(self, name: str, tasks: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        own = tasks_of(name, self.tasks[name], tasks)
        return torch.stack([weights[task] * tasks[task] for task in own]).sum()  # ()

    def _tasks_of(self, turn: Sequence[str]) -> set[str]:
        """Returns the tasks of the optimizers of a turn."""
        known = Model.task_names(self.model.module) or ()
        return {task for name in turn for task in tasks_of(name, self.tasks[name], known)}

    def _require_claimed(self, losses: Iterable[str]) -> None:
        """Checks that each task is minimized by an optimizer; a model that declares its tasks was checked before."""
        patterns = [pattern for own in self.tasks.values() for pattern in own]
        for task in losses:
            if not any(fnmatch.fnmatchcase(task, pattern) for pattern in patterns):
                raise Mismatch(
                    f'step.optimizers: no optimizer minimizes the task {task}',
                    todo='add it to the tasks of an optimizer, or do not return it from the model',
                    path='step.optimizers',
                )

    def _buffers_outside(self, turn: Sequence[str]) -> set[str]:
        """Returns the names of the buffers in modules whose parameters the turn does not update."""
        if (names := self._outside.get(tuple(turn))) is None:
            model = self.model.module
            updated = {parameter for name in turn for parameter in self.parameters[name]}
            owned = [(name, _owner(model, name)) for name, _ in model.named_buffers()]
            names = self._outside[tuple(turn)] = {name for name, parameters in owned if not parameters & updated}
        return names

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


def _owner(model: nn.Module, buffer: str) -> set[str]:
    """Returns the parameters of the innermost module around a buffer that has any."""
    place = buffer.rpartition('.')[0]
    while place and not any(True for _ in model.get_submodule(place).parameters()):
        place = place.rpartition('.')[0]
    inside = model.get_submodule(place).named_parameters()
    return {f'{place}.{name}' if place else name for name, _ in inside}
