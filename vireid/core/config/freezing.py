"""Parts of a model that training leaves as they are."""

from __future__ import annotations

import fnmatch
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vireid.core.errors import VireidError, raise_all

if TYPE_CHECKING:
    from torch import nn


def freeze(model: nn.Module, patterns: Sequence[str], where: str = 'training.freeze') -> None:
    """Freezes what matches a name pattern: parameters get no gradient, modules stay in evaluation mode.

    A module whose name matches, or the name of a buffer of its own, stays so: BatchNorm then uses its running
    statistics and does not move them. `backbone.*` freezes a backbone as a whole, `*.bias` parameters alone.

    Raises:
        VireidError: for each pattern that matches nothing.
    """
    buffers = {name.rpartition('.')[::2] for name, _ in model.named_buffers()}
    problems = []
    for position, pattern in enumerate(patterns):
        parameters = [p for name, p in model.named_parameters() if fnmatch.fnmatchcase(name, pattern)]
        owners = {owner for owner, own in buffers if fnmatch.fnmatchcase(f'{owner}.{own}', pattern)}
        modules = [m for name, m in model.named_modules() if fnmatch.fnmatchcase(name, pattern) or name in owners]
        if not parameters and not modules:
            tops = ', '.join(f"'{name}.*'" for name, _ in model.named_children())
            text = f'{where}.{position}: the pattern {pattern!r} matches nothing'
            problems.append(VireidError(text, allowed=f'patterns such as {tops}'))
        for parameter in parameters:
            parameter.requires_grad_(False)
        for module in modules:
            if module is not model:
                module.eval()
                module.train = types.MethodType(_stay, module)  # type: ignore[method-assign]
    raise_all(problems)


def _stay(module: Any, mode: bool = True) -> Any:
    """Replaces `train` of a frozen module."""
    return module
