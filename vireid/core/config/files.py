"""Reads Python, YAML and JSON configs with `_base_`.

A Python config is a program and is executed. YAML and JSON are data: they execute nothing, and may only refer to data
files in their own folder (see SECURITY.md).
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vireid.boundary.config_text import plain, read_data
from vireid.boundary.mmengine_import import import_mmengine
from vireid.boundary.paths import is_inside
from vireid.boundary.python_config import run_python
from vireid.boundary.received import DATA, require_data, require_no_address
from vireid.core.config.overrides import Origins, leaves, override, without_delete
from vireid.errors import (
    Mismatch,
    MissingFile,
    UnknownName,
    UnsafeFile,
    UnsupportedFile,
    VireidError,
    WrongContent,
    WrongValue,
    did_you_mean,
    nearest,
)

SUFFIXES = ('.py', *DATA)
FILES = 100  # most files that make up one config
Folders = Callable[[], Mapping[str, Sequence[Path]]]


def load(
    path: str | Path,
    options: Sequence[str] = (),
    over: Sequence[str | Path] = (),
    folders: Folders | None = None,
    origins: Origins | None = None,
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
) -> dict[str, Any]:
    """Reads a config with its bases.

    Top-level names that begin with `_` are scratch variables and are dropped. Paths in `plugins` are relative to the
    config that lists them; the files are added to those of the bases unless `_delete_` is set.

    Args:
        path: a `.py`, `.yaml`, `.yml` or `.json` file, or `package::file` for a config from an installed plugin.
        options: overrides such as `dataset.root=/data` or `images.size=[144,72]`, applied in order.
        over: configs merged on top before the options, as if `path` were their base.
        folders: returns the config folders by package; None means no packages.
        origins: filled with the source file of each value, by path; a list counts as one value, options are ignored.
        plugins: Python files that may run; they are added to those of the config.
        trust: whether YAML and JSON may name bases and stages outside their folder; these must be data too.

    Returns:
        Plain dicts, lists, tuples and scalars.

    Raises:
        VireidError: if the file or a base is missing or does not parse, an option has no `=` or an invalid key, or a
            YAML or JSON file names a base outside its folder or a plugin file that is not in `plugins`.
    """
    reader = _Files(folders or dict, trust)
    try:
        merged, sources = reader.load_over([reader.locate(p) for p in (path, *over)])
    except RecursionError as error:
        raise WrongContent(f'config {path} contains a circular reference', todo='remove the reference') from error
    if 'plugins' in merged:
        merged['plugins'] = merged['plugins']['files']
        sources[('plugins',)] = sources[('plugins', 'files')]
    merged = without_delete(merged)
    given = [str(Path(file).resolve()) for file in plugins]
    if named := [*merged.get('plugins', ()), *given]:
        merged['plugins'] = list(dict.fromkeys(named))
    refused = [file for file in merged.get('plugins', ()) if file in reader.named_by_data and file not in given]
    if refused:
        raise UnsafeFile(
            f'{path} lists the plugin files {", ".join(refused)}, but YAML and JSON configs cannot run code',
            todo='if you trust them, add ' + ' '.join(f'--plugin {file}' for file in refused),
        )
    if origins is not None:
        origins.update({place: sources[place] for place, _ in leaves(merged) if place in sources})
    config = {key: value for key, value in merged.items() if not key.startswith('_')}
    for option in options:
        override(config, option)
    return config


class _Files:
    """Reads files and merges them over their bases; `_delete_` works as in mmengine."""

    def __init__(self, folders: Folders, trust: bool) -> None:
        self.folders, self.trust = folders, trust
        self.named_by_data: set[str] = set()  # plugin files listed in YAML or JSON
        self.loaded = 0

    def locate(self, name: str | Path, beside: Path | None = None) -> Path:
        """Returns the path of a file, relative to the folder `beside`, or of `package::file`."""
        package, colons, file = str(name).partition('::')
        if not colons:
            return Path(name) if beside is None else beside / name
        known = self.folders()
        if package not in known:
            packages = sorted(p for p, paths in known.items() if paths)
            raise UnknownName(
                f'no package {package!r} provides configs{did_you_mean(package, packages)}',
                allowed=', '.join(packages) or 'no installed plugin provides any',
                todo='install the plugin, or see `vireid plugins`',
            )
        for folder in known[package]:
            if (folder / file).is_file() and is_inside(folder / file, folder):
                return folder / file
        offered = [name for name in self._installed() if name.startswith(f'{package}::')]
        hint, allowed = _suggested(Path(file).stem, offered, [name for name in offered if '/' not in name])
        raise MissingFile(f'{package} has no config {file!r}{hint}', allowed=allowed or 'none')

    def load(self, path: Path, chain: tuple[Path, ...]) -> tuple[dict[str, Any], Origins]:
        """Reads one file and merges it over its bases."""
        self.loaded += 1
        if self.loaded > FILES:  # files that each list the next one twice grow exponentially
            raise UnsafeFile(f'config {path} is one of more than {FILES} bases', todo='list each base once')
        if path.resolve() in chain:
            raise WrongContent(f'config {path} is its own base: ' + ' -> '.join(p.name for p in (*chain, path)))
        if not path.is_file() or path.suffix not in SUFFIXES:
            error = self._no_such_config(path)
            if not chain:
                raise error
            allowed = 'a path relative to that file, or PACKAGE::NAME'
            raise error.reworded(f'_base_ of {chain[-1]}: {error.given}', allowed=allowed, todo=error.todo)
        data = path.suffix != '.py'
        own = read_data(path) if data else run_python(path)
        bases = own.pop('_base_', [])
        bases = [bases] if isinstance(bases, str) else bases
        if not isinstance(bases, (list, tuple)) or not all(isinstance(base, str) for base in bases):
            raise WrongValue(f'config {path}: _base_ is {bases!r}', allowed='a file name, or a list of them')
        for what, names in (('base', bases), ('stage', own.get('stages'))) if data else ():
            for name in names if isinstance(names, (list, tuple)) else ():
                if isinstance(name, str):
                    require_data(name, functools.partial(self.locate, name, path.parent), path, what, self.trust)
        merged = self.load_over([self.locate(base, path.parent) for base in bases], (*chain, path.resolve()))
        own = _with_paths(own, path)
        if data:
            require_no_address(own, path)
            self.named_by_data |= set(own.get('plugins', {}).get('files', ()))
        return self._lay(plain(own, f'config {path}'), merged, path)

    def load_over(self, paths: Sequence[Path], chain: tuple[Path, ...] = ()) -> tuple[dict[str, Any], Origins]:
        """Reads files and merges each over the previous ones; a `_delete_` with no value to replace yet is kept."""
        merged: tuple[dict[str, Any], Origins] = ({}, {})
        for path in paths:
            config, origins = self.load(path, chain)
            below, before = merged
            merged = _merge(config, below, path), {**before, **origins}
        return merged

    def _no_such_config(self, path: Path) -> VireidError:
        if path.is_file():
            test = 'a checkpoint follows the config: vireid test CONFIG FILE, or vireid train CONFIG --init FILE'
            todo = test if path.suffix in ('.pt', '.pth') else ''
            return UnsupportedFile(f'{path} is not a config file', allowed=', '.join(SUFFIXES), todo=todo)
        if path.is_dir():
            within = sorted(p.name for p in path.glob('[!.]*') if p.suffix in SUFFIXES)
            allowed = ', '.join(within[:20]) or 'a config file; there is none in this folder'
            return UnsupportedFile(f'{path} is a folder, not a config file', allowed=allowed)
        beside = sorted(str(p) for p in path.parent.glob('[!.]*') if p.suffix in SUFFIXES)
        installed = self._installed()
        others = beside if len(path.parts) > 1 else [name for name in installed if '/' not in name]
        hint, allowed = _suggested(path.stem, [*beside, *installed], others)
        return MissingFile(f'no config file {path}{hint}', allowed=allowed or f'a {", ".join(SUFFIXES)} file')

    def _installed(self) -> list[str]:
        """Returns the configs of packages as `package::file`, without those whose names begin with `_`."""
        found = [
            (package, file.relative_to(folder))
            for package, folders in self.folders().items()
            for folder in folders
            for file in folder.rglob('*')
            if file.suffix in SUFFIXES
        ]
        return sorted(f'{p}::{f.as_posix()}' for p, f in found if not any(part.startswith('_') for part in f.parts))

    @staticmethod
    def _lay(over: dict[str, Any], under: tuple[dict[str, Any], Origins], path: Path) -> tuple[dict[str, Any], Origins]:
        config, origins = under
        return _merge(over, config, path), {**origins, **{place: str(path) for place, _ in leaves(over)}}


def _suggested(stem: str, configs: Sequence[str], others: Sequence[str]) -> tuple[str, str]:
    """Returns what to type instead of a missing config: a hint if only one is meant, and a list.

    Args:
        stem: the name that was given, without suffix.
        configs: paths and `package::file` names of configs. Meant is the one of this name; else those whose names begin
            with it; else the one with the closest name.
        others: what to list if not several are meant.
    """
    by_stem: dict[str, str] = {}
    for config in configs:
        by_stem.setdefault(Path(config.rpartition('::')[2]).stem, config)
    longer = [name for name in by_stem if name.startswith(stem)]
    names = [stem] if stem in by_stem else longer or [nearest(stem, by_stem) or '']
    meant = [by_stem[name] for name in names if name]
    hint = f", did you mean '{meant[0]}'?" if len(meant) == 1 else ''
    return hint, ', '.join((meant if len(meant) > 1 else others)[:20])


def _with_paths(own: dict[str, Any], path: Path) -> dict[str, Any]:
    """Makes the paths in `plugins` and `stages`, which are relative to the config, absolute."""
    stages = own.get('stages')
    if isinstance(stages, (list, tuple)):
        beside = [s if not isinstance(s, str) or '::' in s else str((path.parent / s).resolve()) for s in stages]
        own = {**own, 'stages': beside}
    if 'plugins' not in own:
        return own
    files = own['plugins']
    replaces = isinstance(files, Mapping) and files.get('_delete_') is True and set(files) == {'_delete_', 'files'}
    if replaces:
        files = files['files']
    if not isinstance(files, (list, tuple)) or not all(isinstance(file, str) for file in files):
        raise WrongValue(
            f'config {path}: plugins is {own["plugins"]!r}',
            allowed="a list of Python files to add to those of the bases: ['my_fusion.py']; to replace them: "
            "dict(_delete_=True, files=['my_fusion.py'])",
        )
    paths = [str((path.parent / file).resolve()) for file in files]
    return {**own, 'plugins': {'_delete_': replaces, 'files': paths}}  # until all are merged


def _merge(over: dict[str, Any], under: dict[str, Any], path: Path) -> dict[str, Any]:
    own, below = over.get('plugins'), under.get('plugins')
    if own and below and not own['_delete_']:
        own = {**below, 'files': list(dict.fromkeys([*below['files'], *own['files']]))}
    rest = {key: value for key, value in over.items() if key != 'plugins'}
    return {**lay_over(rest, under, path), **({'plugins': own} if own else {})}


def lay_over(over: Mapping[str, Any], under: Mapping[str, Any], path: object) -> dict[str, Any]:
    """Merges one dict over another as mmengine does: dicts merge unless `_delete_` is set, other values replace.

    Args:
        over: the dict with precedence.
        under: the base.
        path: name of `over` in messages.

    Raises:
        Mismatch: if a dict would replace a value of another type without `_delete_`.
    """
    merged = import_mmengine('config').Config({'config': dict(under)})
    try:
        # nested under one key, since mmengine splits outermost keys at dots and reserves some of them
        merged.merge_from_dict({'config': copy.deepcopy(dict(over))}, allow_list_keys=False)
    except TypeError as error:
        raise Mismatch(
            f'config {path} cannot be merged over its base: {error}',
            todo='to replace a value with a dict, put _delete_=True into the dict',
        ) from error
    return dict(merged.to_dict()['config'])
