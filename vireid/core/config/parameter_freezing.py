"""Freezing parts of a model during training."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from vireid.errors import NoMatch, raise_all

if TYPE_CHECKING:
    from torch import nn


def freeze(model: nn.Module, patterns: Sequence[str], where: str = 'training.freeze') -> None:
    """Freezes parameters and modules whose names match: parameters get no gradient, modules stay in eval mode.

    A matching module is frozen as a whole, including BatchNorm statistics: `backbone` and `backbone.*` are equivalent.
    A pattern that matches buffers (`*.running_*`) or parameters (`*.bias`) freezes only those. `NAME:CLASS` matches a
    module by name and class and freezes its own parameters and buffers, but not its submodules: `backbone.*:*Norm*`
    freezes the normalization layers of the backbone, and not a block of convolutions whose class name contains Norm.

    Args:
        model: the model to change.
        patterns: shell-style name patterns.
        where: config path of the patterns, for messages.

    Raises:
        VireidError: if patterns match nothing; a `NoMatch`, or a combined error with one for each of several.
    """
    buffers = {name.rpartition('.')[::2] for name, _ in model.named_buffers()}
    problems = []
    for position, pattern in enumerate(patterns):
        of_name, _, of_class = pattern.partition(':')
        named = [m for name, m in model.named_modules() if name and fnmatchcase(name, of_name)]
        whole = [m for m in named if fnmatchcase(type(m).__name__, of_class or '*')]
        owners = {owner for owner, own in buffers if fnmatchcase(f'{owner}.{own}', pattern)}
        if of_class:
            whole = [m for m in whole if [*m.parameters(recurse=False), *m.buffers(recurse=False)]]
        modules = [m for part in whole for m in ([part] if of_class else part.modules())]
        modules += [m for name, m in model.named_modules() if name in owners]
        parameters = [p for name, p in model.named_parameters() if fnmatchcase(name, pattern)]
        parameters += [p for part in whole for p in part.parameters(recurse=not of_class)]
        if not parameters and not modules:
            tops = ', '.join(f"'{name}.*'" for name, _ in model.named_children())
            text = f'{where}.{position}: the pattern {pattern!r} matches nothing'
            problems.append(NoMatch(text, allowed=f"patterns such as {tops}, or with a class: 'backbone.*:*Norm*'"))
        for parameter in parameters:
            parameter.requires_grad_(False)
        for module in modules:
            if module is not model:
                module.eval()
                module.train = functools.partial(_stay, module)  # type: ignore[method-assign]
    raise_all(problems)


def _stay(module: Any, mode: bool = True) -> Any:
    """Replaces the `train` method of a frozen module."""
    return module
