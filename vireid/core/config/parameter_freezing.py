"""Parts of a model that training leaves as they are."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vireid.core.errors import VireidError, raise_all

if TYPE_CHECKING:
    from torch import nn


def freeze(model: nn.Module, patterns: Sequence[str], where: str = 'training.freeze') -> None:
    """Freezes what matches a name pattern: parameters get no gradient, modules stay in evaluation mode.

    A module that matches is frozen as a whole: `backbone` and `backbone.*` freeze the same, BatchNorm's statistics
    included. A pattern of a module's buffers (`*.running_*`) freezes those, one of parameters (`*.bias`) those alone.
    `NAME:CLASS` matches modules by both, and freezes what is their own, not the modules inside them:
    `backbone.*:*Norm*` is all normalisation of the backbone, also where a block of convolutions is called a norm.

    Raises:
        VireidError: for each pattern that matches nothing.
    """
    buffers = {name.rpartition('.')[::2] for name, _ in model.named_buffers()}
    problems = []
    for position, pattern in enumerate(patterns):
        of_name, _, of_class = pattern.partition(':')
        whole = [
            m
            for name, m in model.named_modules()
            if name and fnmatch.fnmatchcase(name, of_name) and fnmatch.fnmatchcase(type(m).__name__, of_class or '*')
        ]
        owners = {owner for owner, own in buffers if fnmatch.fnmatchcase(f'{owner}.{own}', pattern)}
        if of_class:
            whole = [m for m in whole if [*m.parameters(recurse=False), *m.buffers(recurse=False)]]
        modules = [m for part in whole for m in ([part] if of_class else part.modules())]
        modules += [m for name, m in model.named_modules() if name in owners]
        parameters = [p for name, p in model.named_parameters() if fnmatch.fnmatchcase(name, pattern)]
        parameters += [p for part in whole for p in part.parameters(recurse=not of_class)]
        if not parameters and not modules:
            tops = ', '.join(f"'{name}.*'" for name, _ in model.named_children())
            text = f'{where}.{position}: the pattern {pattern!r} matches nothing'
            problems.append(VireidError(text, allowed=f"patterns such as {tops}, or with a class: 'backbone.*:*Norm*'"))
        for parameter in parameters:
            parameter.requires_grad_(False)
        for module in modules:
            if module is not model:
                module.eval()
                module.train = functools.partial(_stay, module)  # type: ignore[method-assign]
    raise_all(problems)


def _stay(module: Any, mode: bool = True) -> Any:
    """Replaces `train` of a frozen module."""
    return module
