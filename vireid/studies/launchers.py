"""Builds the launcher of a study, a component of the kind `launchers`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vireid.core.config.overrides import override
from vireid.core.registry.manager import Manager
from vireid.core.registry.schema import check
from vireid.errors import raise_all
from vireid.interfaces import given


def build_launcher(name: str, options: Sequence[str], jobs: int | None, manager: Manager, folder: Path) -> Any:
    """Builds a launcher.

    Args:
        name: its name, such as `slurm`.
        options: its arguments, such as `partition=gpu`.
        jobs: number of runs at once; None leaves it to the launcher.
        manager: the plugins.
        folder: the folder of the study.

    Raises:
        VireidError: for an unknown launcher or option, or one that cannot be used here.
    """
    config: dict[str, Any] = {}
    for option in options:
        override(config, option)
    known = manager.components.get('launchers', name, where='--launcher')
    raise_all(check(known, config, where=f'--launcher {name}', supplied=given('launchers')))
    config = {'type': name, **config}
    return manager.components.build('launchers', config, where='--launcher', jobs=jobs, folder=folder)
