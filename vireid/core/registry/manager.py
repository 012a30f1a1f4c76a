"""The interface that the core requires of a plugin manager."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from vireid.core.registry.components import Components
from vireid.errors import VireidError


class Manager(Protocol):
    """The plugins of one process; create one with `vireid.plugin_manager.manager.create_manager`."""

    components: Components
    configs: dict[str, list[Path]]  # config folders by package

    def with_files(self, files: Sequence[str | Path]) -> Manager:
        """Returns a manager that also loads these plugin files."""

    def observers(self, loggers: list[object]) -> Any:
        """Returns the hooks of one run: those of its loggers, then those of the plugins."""

    def register(self, plugin: object, name: str) -> None:
        """Registers a plugin, such as a callback."""

    def missing(self, requirements: Sequence[str]) -> list[VireidError]:
        """Returns an error for each requirement of a config that is not installed."""
