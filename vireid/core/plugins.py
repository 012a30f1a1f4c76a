"""Plugins: the hooks they may implement, and the manager that finds them by entry point.

The built-in components come through the same entry-point group as anyone else's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from vireid.core.errors import VireidError, nearest
from vireid.core.registry import Components

if TYPE_CHECKING:
    from vireid.core.results import Results
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
    def preparing(self, what: str, done: int, total: int) -> None:
        """Before a run: `what` is being made, such as a cache of pictures."""

    @hookspec
    def evaluating(self, run: Run, what: str, done: int, total: int) -> None:
        """`done` of `total` pictures are embedded, or trials scored; `what` says which."""

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
        name: entry-point name, or the file's path.
        version: version of the distribution that brings it; empty for a file.
        distribution: name of that distribution; empty for a file.
        components: how many names it registered.
        observes: whether it watches runs.
    """

    name: str
    version: str
    distribution: str
    components: int
    observes: bool = False


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
        hooks = {caller.name for caller in self._pluggy.get_hookcallers(plugin) or ()}
        observes = bool(hooks - {'register_components'})
        self.plugins.append(PluginInfo(name, version, distribution, count, observes))

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


def create_manager(files: Sequence[str | Path] = ()) -> PluginManager:
    """Makes a manager and loads every installed plugin into it, in order of entry-point name, then `files`.

    Args:
        files: Python files that are plugins; one that is named twice is loaded once.

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
    for path in dict.fromkeys(Path(file).resolve() for file in files):
        manager.register(_import_file(path), str(path))
        if manager.plugins[-1].components == 0 and not manager.plugins[-1].observes:
            raise VireidError(
                f'plugin file {path} does nothing',
                todo='give it a function register_components(add) marked with @vireid.hookimpl',
            )
    return manager


def _import_file(path: Path) -> ModuleType:
    """Runs a plugin file as a module of its own name, the same each time, so that processes can share its classes."""
    if not path.is_file() or path.suffix != '.py':
        beside = [p.name for p in path.parent.glob('*.py')] if path.parent.is_dir() else []
        near = nearest(path.name, beside)
        raise VireidError(
            f'no plugin file {path}' + (f', did you mean {path.parent / near}?' if near else ''),
            allowed='a Python file; what a config names in `plugins` is looked for beside the config',
        )
    name = f'vireid_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}'
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's file raises is theirs to see
        del sys.modules[name]
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else None)
        raise VireidError(
            f'plugin file {path}' + (f', line {line}' if line else '') + f': {type(error).__name__}: {error}',
            todo='mend the file',
        ) from error
    return module
