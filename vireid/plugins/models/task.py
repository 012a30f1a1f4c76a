"""Task: one head of a model, with its losses."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn

from vireid.console.warn import warn_once
from vireid.core.epochs import Epochs, is_active
from vireid.core.registry.signature import named_arguments
from vireid.core.types import Context, HeadOutput, Progress
from vireid.interfaces import Head
from vireid.plugins.models.returns import require_head_outputs, require_scalar


class Task(nn.Module):
    """One head with its losses. The head and losses that name `context` or `progress` receive them.

    Args:
        head: maps features to a `HeadOutput`, or to a dict of them.
        losses: each maps (HeadOutput, identities) to a scalar.
        weights: factor of each loss in the sum.
        reads: the head output that each loss reads.
        tasks: the task that each loss adds to.
        epochs: the epochs in which each loss is computed; None means all.
        stop: for each input of the head, whether to stop the gradient there.
        where: path of the head in the config.
    """

    def __init__(
        self,
        head: nn.Module,
        losses: Mapping[str, nn.Module],
        weights: Mapping[str, float],
        reads: Mapping[str, str],
        tasks: Mapping[str, str],
        epochs: Mapping[str, Epochs | None],
        stop: tuple[bool, ...],
        where: str,
    ) -> None:
        super().__init__()
        self.head: Any = head
        self.losses = nn.ModuleDict(losses)
        self.weights, self.reads, self.tasks, self.where = dict(weights), dict(reads), dict(tasks), where
        self.epochs, self.stop = dict(epochs), stop
        self._takes = {
            name: named_arguments(part, 'context', 'progress') for name, part in {'': head, **losses}.items()
        }

    def active(self, tasks: Collection[str] | None, progress: Progress | None) -> tuple[str, ...]:
        """Returns the losses to compute now: those of the given tasks (None: all) whose `epochs` include this one."""
        return tuple(
            name
            for name in self.losses
            if (tasks is None or self.tasks[name] in tasks) and is_active(self.epochs[name], progress)
        )

    def forward(
        self, *features: Any, context: Context, progress: Progress | None, active: Collection[str]
    ) -> dict[str, list[Tensor]]:
        """Returns the weighted losses in `active`, () each, grouped by task."""
        known = {'context': context, 'progress': progress}
        inputs = [_stopped(f) if stops else f for f, stops in zip(features, self.stop, strict=True)]
        outputs: HeadOutput | dict[str, HeadOutput] = self.head(*inputs, **{n: known[n] for n in self._takes['']})
        rows = sum(context.counts.values()) if Head.layout(self.head) == 'joint' else None
        require_head_outputs(outputs, {self.reads[name] for name in active}, rows, self.where)
        terms: dict[str, list[Tensor]] = {}
        for name in active:
            output = outputs if isinstance(outputs, HeadOutput) else outputs[self.reads[name]]
            term = self.losses[name](output, context.identities, **{n: known[n] for n in self._takes[name]})
            require_scalar(term, 'the loss', f'{self.where}.losses.{name}')
            if output.feature.requires_grad and not term.requires_grad:
                kind = type(self.losses[name]).__name__
                where = f'{self.where}.losses.{name}'
                warn_once(f'{where}: {kind} has no gradient in this batch, so it changes nothing; does it detach()?')
            terms.setdefault(self.tasks[name], []).append(self.weights[name] * term)
        return terms


def _stopped(feature: Any) -> Any:
    return feature.detach() if isinstance(feature, Tensor) else {m: part.detach() for m, part in feature.items()}
