"""What the core asks of whoever finds plugins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from vireid.core.errors import VireidError
from vireid.core.registry.components import Components


class Manager(Protocol):
    """The plugins of one process; `vireid.plugin_manager.manager.create_manager` makes one."""

    components: Components
    configs: dict[str, list[Path]]  # folders, by package

    def with_files(self, files: Sequence[str | Path]) -> Manager:
        """Returns a manager with these plugin files too."""

    def observers(self, loggers: list[object]) -> Any:
        """Returns the hooks of one run: those of its loggers, then the plugins' own."""

    def register(self, plugin: object, name: str) -> None:
        """Takes a plugin in, such as an observer of a run."""

    def missing(self, requirements: Sequence[str]) -> list[VireidError]:
        """Finds what a config requires and this machine lacks."""
