"""Plugins: the hooks they may implement, and the manager that finds them by entry point.

The built-in components come through the same entry-point group as anyone else's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pluggy

from vireid.core.errors import VireidError
from vireid.core.registry import Components

if TYPE_CHECKING:
    from vireid.core.evaluation import Results
    from vireid.core.run import Run
    from vireid.core.types import Progress

GROUP = 'vireid.plugins'
hookspec = pluggy.HookspecMarker('vireid')
hookimpl = pluggy.HookimplMarker('vireid')


class Hooks:
    """What a plugin may implement; every method is optional and takes any subset of the arguments."""

    @hookspec
    def register_components(self, add: Callable[[str, str, Any], None]) -> None:
        """Registers components: `add(kind, name, target)`; a target `'module:attr'` is imported on first use."""

    @hookspec
    def run_started(self, run: Run) -> None:
        """Training begins or resumes; `run.progress` says where."""

    @hookspec
    def step_ended(self, run: Run, progress: Progress, record: dict[str, Any]) -> None:
        """One step is done. `record` holds the total `loss`, `tasks`, `weights` and `lr`, all plain floats."""

    @hookspec
    def epoch_ended(self, run: Run, progress: Progress) -> None:
        """One epoch is done."""

    @hookspec
    def evaluating(self, run: Run, done: int, total: int) -> None:
        """`done` of `total` test pictures are embedded."""

    @hookspec
    def evaluated(self, run: Run, progress: Progress, results: Results) -> None:
        """The model was scored."""

    @hookspec
    def run_ended(self, run: Run, finished: bool) -> None:
        """Training is over; `finished` is False if it was interrupted."""


@dataclass(frozen=True)
class PluginInfo:
    """One line of `vireid plugins`.

    Attributes:
        name: entry-point name.
        version: version of the distribution that brings it.
        distribution: name of that distribution.
        components: how many names it registered.
    """

    name: str
    version: str
    distribution: str
    components: int


class PluginManager:
    """The plugins of one process and the components they registered. Make one with `create_manager`."""

    def __init__(self) -> None:
        self.components = Components()
        self.plugins: list[PluginInfo] = []
        self._pluggy = self._fresh()

    def register(self, plugin: object, name: str, *, version: str = '', distribution: str = '') -> None:
        """Takes a plugin in and lets it register its components.

        Raises:
            VireidError: if a plugin of that name exists or a hook of it does not fit.
        """
        if self._pluggy.has_plugin(name):
            raise VireidError(f'two plugins are called {name!r}', todo='uninstall one of the packages')
        before = len(self.components.listing())
        try:
            self._pluggy.register(plugin, name)
            self._pluggy.check_pending()
        except (ValueError, pluggy.PluginValidationError) as error:
            raise VireidError(f'plugin {name!r} does not fit: {error}') from error
        others = [p for p in self._pluggy.get_plugins() if p is not plugin]
        register = self._pluggy.subset_hook_caller('register_components', others)
        register(add=partial(self.components.add, plugin=name))
        count = len(self.components.listing()) - before
        self.plugins.append(PluginInfo(name, version, distribution, count))

    def observers(self, loggers: list[object]) -> pluggy.HookRelay:
        """Returns the hooks of one run: the plugins' own and those of its loggers."""
        manager = self._fresh()
        for name, plugin in self._pluggy.list_name_plugin():
            manager.register(plugin, name)
        for logger in reversed(loggers):  # pluggy calls the last registered first
            manager.register(logger)
        return manager.hook

    @staticmethod
    def _fresh() -> pluggy.PluginManager:
        manager = pluggy.PluginManager('vireid')
        manager.add_hookspecs(Hooks)
        return manager


def create_manager() -> PluginManager:
    """Makes a manager and loads every installed plugin into it, in order of entry-point name.

    Raises:
        VireidError: if a plugin cannot be imported or does not fit.
    """
    manager = PluginManager()
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        distribution = entry.dist
        try:
            plugin = entry.load()
        except Exception as error:
            raise VireidError(
                f'plugin {entry.name!r} ({entry.value}) cannot be imported: {error}', todo='mend or uninstall it'
            ) from error
        manager.register(
            plugin,
            entry.name,
            version=distribution.version if distribution else '',
            distribution=distribution.name if distribution else '',
        )
    return manager
