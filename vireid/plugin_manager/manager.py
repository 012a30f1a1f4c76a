"""The plugin manager, which finds plugins by entry point or file; `hooks.py` has the hooks that they implement.

The built-in components use the same entry-point group as third-party plugins. An unusable plugin does not affect the
others: it gets a status, a reason, and a line on stderr.
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
from vireid.core.registry.components import Components, NameTaken
from vireid.errors import MissingFile, Unavailable, UnknownName, UnsupportedFile, VireidError, did_you_mean, nearest
from vireid.plugin_manager.hooks import API, Hooks, hookimpl
from vireid.plugin_manager.info import Command, PluginInfo
from vireid.plugin_manager.observers import Observers
from vireid.plugin_manager.requirements import require

__all__ = ['Command', 'Hooks', 'PluginInfo', 'PluginManager', 'create_manager', 'hookimpl']
GROUP = 'vireid.plugins'
DISABLED = 'VIREID_DISABLED_PLUGINS'
REGISTERING = ('register_components', 'register_commands', 'register_configs')


class PluginProblem(Unavailable):
    """An unusable plugin: importing it or one of its hooks raised."""

    status = 'broken'


class PluginConflict(PluginProblem):
    """A plugin whose name, module, component or command belongs to another plugin."""

    status = 'conflict'


class PluginIncompatible(PluginProblem):
    """A plugin whose hooks do not match this version of vireid."""

    status = 'incompatible'


class PluginManager:
    """The plugins of a process and what they registered. Use `create_manager` to create one.

    Args:
        reserved: command names that plugins cannot use.
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
        """Registers a plugin and everything it provides; if anything fails, nothing is registered.

        Args:
            plugin: a module or object with hooks.
            name: the entry-point name, or the path of a file.
            version: version of the distribution.
            distribution: name of the distribution; empty for a file.

        Raises:
            PluginProblem: if the name of the plugin or of anything it provides is taken, or a hook is invalid or
                raises.
        """
        if self._pluggy.has_plugin(name):
            raise PluginConflict(f'two plugins are named {name!r}', todo='uninstall one of the packages')
        twin = self._pluggy.get_name(plugin)
        if twin is not None:
            raise PluginConflict(f'plugin {name!r} is the same module as plugin {twin!r}', todo='list it only once')
        _require_fit(plugin, name)
        added = {hook: _collect(plugin, hook, name) for hook in REGISTERING}
        components, folders = added['register_components'], [_folder(*entry) for entry in added['register_configs']]
        commands: dict[str, Command] = {}
        for command, module, text in added['register_commands']:
            if not re.fullmatch(r'[a-z][a-z0-9]*(-[a-z0-9]+)*', str(command)):
                raise PluginIncompatible(
                    f'plugin {name!r} adds the command {command!r}', allowed='lowercase names, such as my-command'
                )
            if command in {*self._reserved, *self.commands, *commands}:
                holders = {**dict.fromkeys(commands, name), **{v: c.plugin for v, c in self.commands.items()}}
                holder = f'plugin {holders[command]!r}' if command in holders else 'vireid itself'
                raise PluginConflict(
                    f'plugin {name!r} adds the command {command!r}, which belongs to {holder}', todo='rename it'
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
        info = PluginInfo(name, version, distribution, len(components), tuple(commands), tuple(map(str, folders)))
        self.plugins.append(replace(info, observes=bool(hooks - set(REGISTERING))))

    def with_files(self, files: Sequence[str | Path]) -> PluginManager:
        """Returns a manager with these plugin files added, or this manager if they are already loaded.

        Raises:
            VireidError: if a file is unusable.
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
                raise UnsupportedFile(
                    f'plugin file {path} registers nothing and has no callbacks',
                    todo='define register_components(add) and decorate it with @vireid.hookimpl',
                )
        return self

    def missing(self, requirements: Sequence[str]) -> list[VireidError]:
        """Returns an error per requirement of a config that is not met; see `require`."""
        return require(requirements, self.plugins)

    def observers(self, loggers: list[object]) -> Observers:
        """Returns the callbacks of a run: its loggers, then the plugins."""
        named = [(f'logger {type(logger).__name__}', logger) for logger in loggers]
        named += [(f'plugin {name!r}', plugin) for name, plugin in self._pluggy.list_name_plugin()]
        return Observers(Hooks, named)


def create_manager(
    files: Sequence[str | Path] = (),
    *,
    disabled: Iterable[str] = (),
    strict: bool = False,
    warn: Callable[[str], None] | None = None,
    reserved: Iterable[str] = (),
) -> PluginManager:
    """Creates a manager and loads the installed plugins (vireid's own first, then by name) and plugin files.

    Args:
        files: Python files that are plugins; a file listed twice is loaded once.
        disabled: names of plugins to skip, in addition to the comma-separated names in the environment variable
            VIREID_DISABLED_PLUGINS.
        strict: raise if an installed plugin is unusable.
        warn: called with a line for each unusable plugin; None prints to stderr.
        reserved: command names that plugins cannot use.

    Returns:
        The manager.

    Raises:
        VireidError: if a file is unusable, `disabled` names an unknown plugin, or a plugin is unusable and `strict`.
    """
    manager = PluginManager(reserved)
    entries = sorted(entry_points(group=GROUP), key=_rank)
    by_user = dict.fromkeys(disabled, 'by --no-plugin')
    for name in by_user:
        if all(entry.name != name for entry in entries):
            known = sorted({entry.name for entry in entries})
            raise UnknownName(
                f'--no-plugin: unknown plugin {name!r}{did_you_mean(name, known)}', allowed=', '.join(known)
            )
    by_user |= {name.strip(): f'by {DISABLED}' for name in os.environ.get(DISABLED, '').split(',') if name.strip()}
    for entry in entries:
        info = PluginInfo(entry.name, entry.dist.version if entry.dist else '', entry.dist.name if entry.dist else '')
        if entry.name in by_user:
            manager.plugins.append(replace(info, status='disabled', reason=by_user[entry.name]))
            continue
        try:
            manager.register(_load(entry), info.name, version=info.version, distribution=info.distribution)
        except BaseException as error:  # a plugin may raise anything; the others still load
            if isinstance(error, KeyboardInterrupt):
                raise
            problem = error if isinstance(error, PluginProblem) else PluginProblem(_words(error))
            if strict:
                raise problem from error
            manager.plugins.append(replace(info, status=problem.status, reason=problem.given))
            (warn or _to_stderr)(manager.plugins[-1].line())
    return manager._load_files(dict.fromkeys(Path(file).resolve() for file in files))


MARK = 'vireid_impl'  # attribute that pluggy's marker sets on a function


def _require_fit(plugin: object, name: str) -> None:
    """Raises unless every hook of a plugin is in `Hooks` and takes only its arguments; pluggy ignores some errors."""
    api = getattr(plugin, 'VIREID_API', API)
    if api != API:
        raise PluginIncompatible(
            f'plugin {name!r} is written for plugin API {api!r}, but this vireid has API {API}',
            todo='install a matching version of the plugin or of vireid',
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
                    f'plugin {name!r}: {attribute} is {how}', todo=f'decorate {attribute} with @vireid.hookimpl'
                )
            continue
        marked += 1
        if attribute not in known:
            raise PluginIncompatible(
                f'plugin {name!r}: unknown hook {attribute!r}{did_you_mean(attribute, known)}',
                allowed=', '.join(known),
            )
        wrong = [a for a in _arguments(function) if a not in known[attribute]]
        if wrong:
            raise PluginIncompatible(
                f'plugin {name!r}: {attribute} has the unknown argument {wrong[0]!r}'
                f'{did_you_mean(wrong[0], known[attribute])}',
                allowed=', '.join(sorted(known[attribute])),
            )
    if not marked:
        raise PluginIncompatible(
            f'plugin {name!r} has no hooks', todo='decorate a function register_components(add) with @vireid.hookimpl'
        )


def _collect(plugin: object, hook: str, name: str) -> list[tuple[Any, ...]]:
    """Calls a registering hook of a plugin and returns what it added."""
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
    except (Exception, SystemExit) as error:  # a plugin may raise anything
        raise PluginProblem(
            f'plugin {name!r}: {hook} raised {_words(error)}{_line_of(error)}',
            todo='fix or uninstall the plugin',
        ) from error
    return added


def _is_of_vireid(error: BaseException) -> bool:
    """Returns whether an import of something of vireid failed."""
    return isinstance(error, ImportError) and (error.name or '').partition('.')[0] == 'vireid'


def _folder(path: str | Path) -> Path:
    if not isinstance(path, (str, Path)) or not Path(path).is_dir():
        relative = isinstance(path, (str, Path)) and not Path(path).is_absolute()
        place = f'; its path begins at the plugin file: Path(__file__).parent / {str(path)!r}' if relative else ''
        raise PluginProblem(f'no config folder {path}', todo=f'add it to the packages in pyproject.toml{place}')
    return Path(path).resolve()


def _arguments(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != 'self']


def _rank(entry: EntryPoint) -> tuple[bool, str, str, str]:
    distribution = entry.dist.name if entry.dist else ''
    return distribution != 'vireid', entry.name, distribution, entry.value


def _load(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except (Exception, SystemExit) as error:  # a plugin may raise anything
        raise PluginProblem(
            f'plugin {entry.name!r} ({entry.value}) cannot be imported: {_words(error)}{_line_of(error)}',
            todo='fix or uninstall the plugin',
        ) from error


def _words(error: BaseException) -> str:
    try:
        return f'{type(error).__name__}: {error}'
    except Exception:  # its __str__ raises
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
    """Runs a plugin file as a module whose name depends only on the path, so that processes can share its classes."""
    if not path.is_file() or path.suffix != '.py':
        beside = [p.name for p in path.parent.glob('*.py')] if path.parent.is_dir() else []
        near = nearest(path.name, beside)
        raise MissingFile(
            f'no plugin file {path}' + (f', did you mean {path.parent / near}?' if near else ''),
            allowed='a Python file; `plugins` of a config is relative to the config',
        )
    try:
        return run_file(f'vireid_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}', path)
    except (Exception, SystemExit) as error:  # the file may raise anything
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else None)
        raise PluginProblem(
            f'plugin file {path}' + (f', line {line}' if line else '') + f': {type(error).__name__}: {error}',
            todo='fix the file' + ('; CHANGELOG.md lists what moved' if _is_of_vireid(error) else ''),
        ) from error
