"""Every error of a config, and of the configs of its stages."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from vireid.core.config.overrides import Overrides
from vireid.core.registry.manager import Manager
from vireid.errors import VireidError
from vireid.launch.resolve import read

# may be unset in a config, because the command that starts a run provides it
FILLED = ('dataset.root',)


def problems_text(path: str, problems: Sequence[VireidError]) -> str:
    """Returns all errors of a config file, or that it has none."""
    if not problems:
        return f'{path}: no errors'
    lines = [f'{path}: {len(problems)} error{"s" if len(problems) > 1 else ""}']
    return '\n'.join([*lines, *(textwrap.indent(str(problem), '  ') for problem in problems)])


def config_problems(source: str, overrides: Overrides, manager: Manager, stages: bool = True) -> list[VireidError]:
    """Returns the errors of a config, without data, weights or a GPU; does not import torch if it cannot be read.

    Args:
        source: a config file, or `package::file`.
        overrides: overrides of the config.
        manager: the plugins.
        stages: also check its stages.
    """
    try:
        config = read(source, overrides, manager)

        from vireid.launch.preflight import find_problems  # needs torch

        problems = find_problems(config.sections, config.manager, FILLED)
    except VireidError as error:
        return [error]
    named = config.sections.get('stages', []) if stages else []
    for position, stage in enumerate(named if isinstance(named, (list, tuple)) else ()):
        own = config_problems(str(stage), overrides, manager, stages=False)
        problems += [error.at(f'stages.{position}') for error in own]
    return problems
