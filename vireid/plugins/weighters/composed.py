"""Several weighters, each for some of the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from torch import Tensor, nn

from vireid.core.registry.components import BuildPart
from vireid.core.registry.schema import Component
from vireid.core.types import Progress
from vireid.errors import Conflict, Mismatch, MissingKey, WrongValue
from vireid.interfaces import Weighter
from vireid.plugins.weighters.fixed import require_known


class Composed(nn.Module):
    """Weighs groups of tasks with a separate weighter each and sums the totals.

    Each part lists its tasks in its `tasks`, and every task belongs to exactly one part. A part weighs its own tasks,
    but sees the losses of all tasks (the adaptive warm-up uses them).

    Args:
        task_names: all tasks.
        parts: config of each weighter, with `tasks`; a part set to None is removed.
        build_part: builds the weighters.

    Raises:
        VireidError: if a task is in no part or in several, or a part does not list its tasks.
    """

    def __init__(
        self,
        task_names: Sequence[str],
        parts: Mapping[str, Annotated[dict | None, Component('weighters')]],
        build_part: BuildPart,
    ) -> None:
        super().__init__()
        kept = {key: part for key, part in parts.items() if part is not None}
        if not kept:
            raise WrongValue('parts is empty', allowed="dict(levels=dict(type='Fixed', tasks=...), ...)")
        holder: dict[str, str] = {}
        for key, part in kept.items():
            named = part.get('tasks') if isinstance(part, Mapping) else None
            if not named or isinstance(named, str):
                raise MissingKey(
                    f'parts.{key} has no tasks', todo=f'set parts.{key}.tasks to some of {", ".join(task_names)}'
                )
            require_known(named, task_names, where=f'parts.{key}.tasks: ')
            for name in named:
                if name in holder:
                    raise Conflict(
                        f'the task {name!r} is in both parts.{holder[name]} and parts.{key}',
                        todo='remove it from one of them',
                    )
                holder[name] = key
        for name in task_names:
            if name not in holder:
                raise Mismatch(
                    f'no weighter has the task {name!r}', todo=f'add it to the tasks of one of: {", ".join(kept)}'
                )
        self.parts: Any = nn.ModuleDict()
        self.tasks_of = {key: {name for name in task_names if holder[name] == key} for key in kept}
        for key, part in kept.items():
            own = tuple(name for name in task_names if holder[name] == key)
            others = tuple(name for name in task_names if holder[name] != key)
            self.parts[key] = build_part('weighters', part, f'parts.{key}', task_names=own, other_tasks=others)

    def forward(self, tasks: dict[str, Tensor], progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the sum of the parts' totals, a scalar, and each task's weight."""
        results = [part(tasks, progress) for name, part in self.parts.items() if self.tasks_of[name] & tasks.keys()]
        total = results[0][0]
        for other, _ in results[1:]:
            total = total + other
        weights = {name: weight for _, of_part in results for name, weight in of_part.items()}
        return total, {name: weights[name] for name in tasks}

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """Returns the parts' curves, merged by title."""
        merged: dict[str, dict[str, Tensor]] = {}
        for part in self.parts.values():
            for title, curves in Weighter.curves(part)().items():
                merged.setdefault(title, {}).update(curves)
        return merged
