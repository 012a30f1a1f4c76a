"""What a step is made of: parameters sorted into groups, batches taken in parts, averaged weights."""

from __future__ import annotations

import fnmatch
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.distributed.processes import world
from vireid.core.errors import VireidError
from vireid.core.registry.contracts import GUIDE, described, require_scalar
from vireid.core.types import Batch, Progress, joint_order


class Average:
    """An exponential moving average of a model's weights; buffers are the newest ones.

    Args:
        model: what is averaged; its weights at this moment are the first average.
        keep: share of the old average that each step keeps.
    """

    def __init__(self, model: nn.Module, keep: float) -> None:
        self.model, self.keep = model, keep
        self._weights = {name: p.detach().clone() for name, p in model.named_parameters()}
        self._raw: dict[str, Tensor] | None = None  # while the average is in the model

    @torch.no_grad()
    def update(self) -> None:
        """Takes the model's weights in."""
        for name, parameter in self.model.named_parameters():
            self._weights[name].lerp_(parameter, 1 - self.keep)

    def raw(self) -> dict[str, Tensor]:
        """Returns the model's own weights."""
        return self._raw or {name: p.detach() for name, p in self.model.named_parameters()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the average into the model for a while."""
        self._raw = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self._fill(self._weights)
        try:
            yield
        finally:
            self._fill(self._raw)
            self._raw = None

    def restore(self, raw: Mapping[str, Tensor]) -> None:
        """Takes the weights in the model for the average, and `raw` for the model's own."""
        self._weights = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self._fill(raw)

    @torch.no_grad()
    def _fill(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.copy_(weights[name])


def is_overflow(scaler: Any, loss: float, norm: Tensor | None) -> bool:
    """Says whether a gradient is not finite only since the loss was scaled up too far, as happens with 16-mixed.

    Once the scale has fallen to 1 it is no excuse any more.
    """
    if scaler is None or norm is None or not math.isfinite(loss) or math.isfinite(float(norm)):
        return False
    return float(scaler.get_scale()) > 1


class Buffers:
    """A model's buffers as they are now, such as BatchNorm's running figures and what a weighter remembers.

    Args:
        model: whose; None keeps nothing.
    """

    def __init__(self, model: nn.Module | None) -> None:
        self._model = model
        self._kept = {name: b.clone() for name, b in model.named_buffers()} if model is not None else {}

    @torch.no_grad()
    def restore(self) -> None:
        """Puts them back: what a step that is left out has done to them is forgotten."""
        if self._model is not None:
            for name, buffer in self._model.named_buffers():
                if name in self._kept:  # some modules make theirs in their first pass
                    buffer.copy_(self._kept[name])


def weighed(weighter: Any, tasks: Mapping[str, Tensor], progress: Progress) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Returns the total of the tasks and the factor of each: by the weighter, or their sum without one.

    Raises:
        VireidError: if the weighter returns anything else.
    """
    if weighter is None:
        return torch.stack(list(tasks.values())).sum(), {name: loss.new_ones(()) for name, loss in tasks.items()}
    made = weighter(tasks, progress)
    total, weights = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(weights, Mapping) or set(weights) != set(tasks) or getattr(total, 'ndim', None) != 0:
        raise VireidError(
            f'model.weighter: {type(weighter).__name__} returned {described(made)}',
            allowed=f'a total, a tensor of one number, and a dict of the weights of {", ".join(tasks)}',
            todo=GUIDE,
        )
    for name, weight in weights.items():
        require_scalar(weight, f'the weight of {name!r}', 'model.weighter')
    return total, weights


def compile_forward(model: nn.Module) -> None:
    """Compiles a model's forward pass in place; falls back to the plain one, with one warning, if that fails."""
    plain = model.forward
    compiled: Callable[..., Any] | None = torch.compile(plain)

    def forward(*given: Any) -> Any:
        nonlocal compiled
        if compiled is None:
            return plain(*given)
        try:
            return compiled(*given)
        except Exception as error:  # the compiler has many of its own, and needs one for C++ on CPUs
            made = plain(*given)  # which raises what is the model's own fault
            compiled = None
            first = f'{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ""}'
            if world()[0] == 0:
                print(f'warning: the model cannot be compiled ({first}); it runs uncompiled', file=sys.stderr)
            return made

    model.forward = forward  # type: ignore[method-assign]


def split_identities(batch: Batch, parts: int) -> list[Batch]:
    """Splits a batch into parts of whole identities, as equal as can be; the order within each is kept.

    Raises:
        VireidError: if there are fewer identities than parts.
    """
    order = joint_order(batch.identities)
    identities = list(dict.fromkeys(torch.cat([batch.identities[m] for m in order]).tolist()))
    if len(identities) < parts:
        raise VireidError(
            f'accumulate is {parts} and a batch has {len(identities)} identities',
            todo=f'set step.accumulate to {len(identities)} or less',
        )
    made = []
    for number in range(parts):
        own = identities[number * len(identities) // parts : (number + 1) * len(identities) // parts]
        kept = {m: torch.isin(ids, torch.tensor(own, device=ids.device)) for m, ids in batch.identities.items()}
        made.append(
            Batch(
                images={m: images[kept[m]] for m, images in batch.images.items()},
                identities={m: ids[kept[m]] for m, ids in batch.identities.items()},
                cameras={m: cameras[kept[m]] for m, cameras in batch.cameras.items()},
                paths={m: [p for p, k in zip(ps, kept[m].tolist(), strict=True) if k] for m, ps in batch.paths.items()},
            )
        )
    return made


def parameter_groups(model: nn.Module, patterns: Mapping[str, dict]) -> list[dict]:
    """Sorts the trainable parameters into groups by name pattern; the rest come last.

    Raises:
        VireidError: if a pattern matches no parameter that an earlier one has not taken.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    groups = []
    for pattern, settings in patterns.items():
        names = fnmatch.filter(named, pattern)
        if not names:
            tops = sorted({name.split('.')[0] for name, _ in model.named_parameters()})
            raise VireidError(
                f'step.groups: the pattern {pattern!r} matches no parameter',
                allowed='patterns such as ' + ', '.join(f'{top}.*' for top in tops),
            )
        groups.append({'params': [named.pop(name) for name in names], **settings})
    if named:
        groups.append({'params': list(named.values())})
    return groups


def plain_state(schedule: Any) -> dict[str, Any]:
    """The part of a schedule's state that moves; the rest is rebuilt from the config."""
    state = {k: v for k, v in schedule.state_dict().items() if isinstance(v, (int, float, list))}
    return {k: v for k, v in state.items() if not isinstance(v, list) or all(isinstance(x, (int, float)) for x in v)}


Figures = Mapping[str, Mapping[str, Tensor]]  # by group, such as `tasks`, and by name


def plain_figures(parts: Sequence[tuple[Figures, float]]) -> dict[str, Any]:
    """Returns what a step tells of itself in plain floats: `loss`, by task `tasks` and `weights`, the rest as `curves`.

    Args:
        parts: the figures of each part of the batch, and its share in it.
    """
    rows = [torch.stack([v.detach() for of in found.values() for v in of.values()]) for found, _ in parts]
    rows = [row.to(torch.promote_types(row.dtype, torch.float32)) for row in rows]
    total = sum(row * share for row, (_, share) in zip(rows, parts, strict=True))
    values = iter(torch.as_tensor(total).tolist())  # one transfer from the device for all
    named = {group: {name: next(values) for name in found} for group, found in parts[0][0].items()}
    first = {'loss': named.pop('loss')['loss'], 'tasks': named.pop('tasks'), 'weights': named.pop('weights')}
    return {**first, 'curves': named}
