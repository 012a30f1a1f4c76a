"""Plugins: the manager that finds them by entry point; what they may implement is in `hooks.py`.

The built-in components come through the same entry-point group as anyone else's. A plugin that cannot be used never
stops the others: it gets a status, a reason, and a line on stderr.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from vireid.boundary.plugin_files import run_file
from vireid.core.errors import VireidError, did_you_mean, nearest
from vireid.core.registry.components import Components, NameTaken
from vireid.plugin_manager.hooks import API, Hooks, hookimpl
from vireid.plugin_manager.info import Command, PluginInfo
from vireid.plugin_manager.observers import Observers
from vireid.plugin_manager.requirements import require

__all__ = ['Command', 'Hooks', 'PluginInfo', 'PluginManager', 'create_manager', 'hookimpl']
GROUP = 'vireid.plugins'
DISABLED = 'VIREID_DISABLED_PLUGINS'
REGISTERING = ('register_components', 'register_commands', 'register_configs')


class PluginProblem(VireidError):
    """A plugin that cannot be used: importing it, or a hook of it, raised."""

    status = 'broken'


class PluginConflict(PluginProblem):
    """A plugin whose name, module, component or command another one has."""

    status = 'conflict'


class PluginIncompatible(PluginProblem):
    """A plugin whose hooks do not fit this vireid."""

    status = 'incompatible'


class PluginManager:
    """The plugins of one process and what they registered. Make one with `create_manager`.

    Args:
        reserved: names of commands that no plugin may take.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self.components = Components()
        self.commands: dict[str, Command] = {}
        self.configs: dict[str, list[Path]] = {}  # by package
        self.plugins: list[PluginInfo] = []
        self._reserved = set(reserved)
        self._pluggy = pluggy.PluginManager('vireid')
        self._pluggy.add_hookspecs(Hooks)

    def register(self, plugin: object, name: str, *, version: str = '', distribution: str = '') -> None:
        """Takes a plugin in and lets it register what it provides; all of it or, if that fails, nothing.

        Raises:
            PluginProblem: if a name is taken, its own or of what it provides, or a hook does not fit or raises.
        """
        if self._pluggy.has_plugin(name):
            raise PluginConflict(f'two plugins are called {name!r}', todo='uninstall one of the packages')
        twin = self._pluggy.get_name(plugin)
        if twin is not None:
            raise PluginConflict(f'plugin {name!r} is the same module as plugin {twin!r}', todo='name it once')
        _require_fit(plugin, name)
        added = {hook: _collect(plugin, hook, name) for hook in REGISTERING}
        components, folders = added['register_components'], [_folder(*entry) for entry in added['register_configs']]
        commands: dict[str, Command] = {}
        for command, module, text in added['register_commands']:
            if not re.fullmatch(r'[a-z][a-z0-9]*(-[a-z0-9]+)*', str(command)):
                raise PluginIncompatible(
                    f'plugin {name!r} adds the command {command!r}', allowed='small letters, such as my-command'
                )
            if command in {*self._reserved, *self.commands, *commands}:
                holders = {**dict.fromkeys(commands, name), **{v: c.plugin for v, c in self.commands.items()}}
                holder = f'plugin {holders[command]!r}' if command in holders else 'vireid itself'
                raise PluginConflict(
                    f'plugin {name!r} adds the command {command!r}, which {holder} has', todo='rename it'
                )
            commands[command] = Command(str(module), str(text), name)
        try:
            self.components.add_all(components, plugin=name)
        except NameTaken as error:
            raise PluginConflict(error.given, todo=error.todo) from error
        except VireidError as error:
            raise PluginIncompatible(error.given, allowed=error.allowed, todo=error.todo) from error
        self.commands |= commands
        self.configs.setdefault(distribution or Path(name).stem, []).extend(folders)
        self._pluggy.register(plugin, name)
        hooks = {caller.name for caller in self._pluggy.get_hookcallers(plugin) or ()}
        found = PluginInfo(name, version, distribution, len(components), tuple(commands), tuple(map(str, folders)))
        self.plugins.append(replace(found, observes=bool(hooks - set(REGISTERING))))

    def with_files(self, files: Sequence[str | Path]) -> PluginManager:
        """Returns a manager with these plugin files too; this manager if it has all of them.

        Raises:
            VireidError: if a file cannot be used.
        """
        paths = dict.fromkeys(Path(file).resolve() for file in files)
        if new := [path for path in paths if not self._pluggy.has_plugin(str(path))]:
            return self._copy()._load_files(new)
        return self

    def _copy(self) -> PluginManager:
        manager = PluginManager(self._reserved)
        for info in self.plugins:
            plugin = self._pluggy.get_plugin(info.name) if info.status == 'active' else None
            if plugin is None:
                manager.plugins.append(info)
            else:
                manager.register(plugin, info.name, version=info.version, distribution=info.distribution)
        return manager

    def _load_files(self, paths: Iterable[Path]) -> PluginManager:
        for path in paths:
            self.register(_import_file(path), str(path))
            info = self.plugins[-1]
            if not (info.components or info.commands or info.configs or info.observes):
                raise VireidError(
                    f'plugin file {path} does nothing',
                    todo='give it a function register_components(add) marked with @vireid.hookimpl',
                )
        return self

    def missing(self, requirements: Sequence[str]) -> list[VireidError]:
        """Finds what a config requires and this machine lacks; see `require`."""
        return require(requirements, self.plugins)

    def observers(self, loggers: list[object]) -> Observers:
        """Returns the hooks of one run: those of its loggers, then the plugins' own."""
        named = [(f'logger {type(logger).__name__}', logger) for logger in loggers]
        named += [(f'plugin {name!r}', plugin) for name, plugin in self._pluggy.list_name_plugin()]
        return Observers(Hooks, named)


def create_manager(
    files: Sequence[str | Path] = (),
    *,
    disabled: Iterable[str] = (),
    strict: bool = False,
    tell: Callable[[str], None] | None = None,
    reserved: Iterable[str] = (),
) -> PluginManager:
    """Makes a manager and loads every installed plugin into it: vireid's own first, then by name; then `files`.

    Args:
        files: Python files that are plugins; one that is named twice is loaded once.
        disabled: names of plugins that are not imported, besides those of the environment variable
            VIREID_DISABLED_PLUGINS (separated by commas).
        strict: a plugin that cannot be used is an error.
        tell: is called with a line for each plugin that cannot be used; prints to stderr if None.
        reserved: names of commands that no plugin may take.

    Raises:
        VireidError: if a file cannot be used, `disabled` names no plugin, or, if `strict`, any plugin cannot be used.
    """
    manager = PluginManager(reserved)
    entries = sorted(entry_points(group=GROUP), key=_rank)
    by_user = dict.fromkeys(disabled, 'by --no-plugin')
    for name in by_user:
        if all(entry.name != name for entry in entries):
            known = sorted({entry.name for entry in entries})
            raise VireidError(f'no plugin {name!r} to leave out{did_you_mean(name, known)}', allowed=', '.join(known))
    by_user |= {name.strip(): f'by {DISABLED}' for name in os.environ.get(DISABLED, '').split(',') if name.strip()}
    for entry in entries:
        info = PluginInfo(entry.name, entry.dist.version if entry.dist else '', entry.dist.name if entry.dist else '')
        if entry.name in by_user:
            manager.plugins.append(replace(info, status='disabled', reason=by_user[entry.name]))
            continue
        try:
            manager.register(_load(entry), info.name, version=info.version, distribution=info.distribution)
        except BaseException as error:  # whatever it raises, others go on
            if isinstance(error, KeyboardInterrupt):
                raise
            problem = error if isinstance(error, PluginProblem) else PluginProblem(_words(error))
            if strict:
                raise problem from error
            manager.plugins.append(replace(info, status=problem.status, reason=problem.given))
            (tell or _to_stderr)(manager.plugins[-1].line())
    return manager._load_files(dict.fromkeys(Path(file).resolve() for file in files))


MARK = 'vireid_impl'  # what pluggy's marker leaves on a function


def _require_fit(plugin: object, name: str) -> None:
    """Raises unless every hook of a plugin is one of `Hooks`, with arguments of its own; pluggy passes over some."""
    wanted = getattr(plugin, 'VIREID_API', API)
    if wanted != API:
        raise PluginIncompatible(
            f'plugin {name!r} is written for plugin API {wanted!r}, and this is {API}',
            todo='install a version of it, or of vireid, that fits',
        )
    known = {hook: set(_arguments(getattr(Hooks, hook))) for hook in vars(Hooks) if not hook.startswith('_')}
    marked = 0
    for attribute in dir(plugin):
        if attribute.startswith('__'):
            continue
        function: Any = getattr(plugin, attribute, None)
        marks = [m for m in getattr(function, '__dict__', {}) if m.endswith('_impl')] if callable(function) else []
        if MARK not in marks:
            if attribute in known and inspect.isroutine(function):
                project = marks[0].removesuffix('_impl') if marks else ''
                how = f'marked for {project!r}' if project else 'not marked'
                raise PluginIncompatible(
                    f'plugin {name!r}: {attribute} is {how}', todo=f'put @vireid.hookimpl before def {attribute}'
                )
            continue
        marked += 1
        if attribute not in known:
            raise PluginIncompatible(
                f'plugin {name!r}: there is no hook {attribute!r}{did_you_mean(attribute, known)}',
                allowed=', '.join(known),
            )
        wrong = [a for a in _arguments(function) if a not in known[attribute]]
        if wrong:
            raise PluginIncompatible(
                f'plugin {name!r}: {attribute} takes {wrong[0]!r}{did_you_mean(wrong[0], known[attribute])}',
                allowed=', '.join(sorted(known[attribute])),
            )
    if not marked:
        raise PluginIncompatible(
            f'plugin {name!r} has no hook', todo='mark a function register_components(add) with @vireid.hookimpl'
        )


def _collect(plugin: object, hook: str, name: str) -> list[tuple[Any, ...]]:
    """Calls one registering hook of a plugin; returns what it added."""
    added: list[tuple[Any, ...]] = []
    adders: dict[str, Callable[..., None]] = {
        'register_components': lambda kind, name, target: added.append((kind, name, target)),
        'register_commands': lambda command, module, help: added.append((command, module, help)),
        'register_configs': lambda folder: added.append((folder,)),
    }
    function = getattr(plugin, hook, None)
    if function is None or not hasattr(function, MARK):
        return added
    try:
        function(add=adders[hook])
    except (Exception, SystemExit) as error:  # whatever the plugin raises is its own
        raise PluginProblem(
            f'plugin {name!r}: {hook} raised {_words(error)}{_line_of(error)}',
            todo='fix or uninstall it',
        ) from error
    return added


def _folder(path: str | Path) -> Path:
    if not isinstance(path, (str, Path)) or not Path(path).is_dir():
        raise PluginProblem(f'no folder of configs {path}', todo='put it among the package data')
    return Path(path).resolve()


def _arguments(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != 'self']


def _rank(entry: EntryPoint) -> tuple[bool, str, str, str]:
    distribution = entry.dist.name if entry.dist else ''
    return distribution != 'vireid', entry.name, distribution, entry.value


def _load(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except (Exception, SystemExit) as error:  # whatever the plugin raises is its own
        raise PluginProblem(
            f'plugin {entry.name!r} ({entry.value}) cannot be imported: {_words(error)}{_line_of(error)}',
            todo='fix or uninstall it',
        ) from error


def _words(error: BaseException) -> str:
    try:
        return f'{type(error).__name__}: {error}'
    except Exception:  # it cannot even say what it is
        return type(error).__name__


def _line_of(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    last = next(
        (
            f
            for f in reversed(frames)
            if 'importlib' not in f.filename and '/plugin_manager/manager.py' not in f.filename
        ),
        None,
    )
    return f' ({last.filename}, line {last.lineno})' if last else ''


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def _import_file(path: Path) -> ModuleType:
    """Runs a plugin file as a module of its own name, the same each time, so that processes can share its classes."""
    if not path.is_file() or path.suffix != '.py':
        beside = [p.name for p in path.parent.glob('*.py')] if path.parent.is_dir() else []
        near = nearest(path.name, beside)
        raise VireidError(
            f'no plugin file {path}' + (f', did you mean {path.parent / near}?' if near else ''),
            allowed='a Python file; what a config names in `plugins` is looked for beside the config',
        )
    try:
        return run_file(f'vireid_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}', path)
    except (Exception, SystemExit) as error:  # whatever the user's file raises is theirs to see
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else None)
        raise VireidError(
            f'plugin file {path}' + (f', line {line}' if line else '') + f': {type(error).__name__}: {error}',
            todo='fix the file',
        ) from error
