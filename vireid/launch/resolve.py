"""Resolves a config into an experiment: reads it, applies overrides, and validates it. This is the only entry point."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vireid.console.warn import warn_once
from vireid.core.config import files
from vireid.core.config.experiment import DROPPABLE, Experiment, check_config
from vireid.core.config.overrides import Origins, Overrides, apply, override, split_key, without_delete
from vireid.core.registry.manager import Manager
from vireid.core.registry.signature import signature_of
from vireid.errors import VireidError, WrongValue, raise_all
from vireid.launch.reach import leave_out


@dataclass(frozen=True)
class Record:
    """The sections recorded in a checkpoint or a release; the plugin files they list are not run."""

    sections: Mapping[str, Any]


Source = str | Path | Mapping[str, Any] | Record | Experiment


@dataclass(frozen=True)
class Config:
    """A config with its bases and overrides applied, not validated yet.

    Attributes:
        sections: the sections.
        origins: the file, flag or option that each value comes from.
        manager: the plugins that provide its components.
    """

    sections: dict[str, Any]
    origins: Origins
    manager: Manager


def resolve(
    source: Source,
    overrides: Overrides = Overrides(),  # noqa: B008, frozen
    *,
    manager: Manager,
    build: bool = False,
    warn: Callable[[str], None] = warn_once,
) -> Experiment:
    """Returns the experiment that a config describes.

    Args:
        source: a config file, `package::file` for a config from a plugin, the sections of a config, the record in a
            checkpoint, or an experiment.
        overrides: the overrides to apply.
        manager: the plugins; the plugin files of the config are added.
        build: also dry-build everything that needs no data.
        warn: called with a line for each component that is disabled because the config is YAML or JSON; see
            SECURITY.md.

    Raises:
        VireidError: listing all errors in the config; if there are any, errors from the dry build are included.
    """
    config = read(source, overrides, manager, warn)
    if build or check_config(config.sections, config.manager):
        from vireid.launch.preflight import find_problems  # needs torch

        raise_all(find_problems(config.sections, config.manager))
    return Experiment.unchecked(config.sections, config.manager)


def read(source: Source, overrides: Overrides, manager: Manager, warn: Callable[[str], None] = warn_once) -> Config:
    """Returns a config with its bases and overrides applied, not validated yet; does not import torch.

    See `resolve` for the arguments.

    Raises:
        VireidError: if a file cannot be read, or the key of an override is invalid.
    """
    origins: Origins = {}
    if isinstance(source, (str, Path)):
        sections = files.load(
            source, over=overrides.over, folders=lambda: manager.configs, origins=origins,
            plugins=overrides.plugins, trust=overrides.trust,
        )  # fmt: skip
        sections.setdefault('name', Path(str(source).rpartition('::')[2]).stem)
    elif isinstance(source, Experiment):
        sections, manager = source.to_config(), source.manager
    else:
        sections = copy.deepcopy(dict(source.sections if isinstance(source, Record) else source))
    merged = {key: value for key, value in overrides.values.items() if '.' not in key and isinstance(value, Mapping)}
    if merged:
        sections = without_delete(files.lay_over(merged, sections, 'overrides'))
    values = {key: value for key, value in overrides.values.items() if key not in merged}
    apply(sections, replace(overrides, values=values), origins)
    if isinstance(source, Record):
        manager = manager.with_files(overrides.plugins)
    else:
        manager = manager.with_files(_plugin_files(sections, overrides))
    _rename_trial(sections, origins, manager, warn)
    if not overrides.trust:
        leave_out(sections, origins, manager, warn)
    _read_as_text(sections, overrides.options, manager)
    return Config(sections, origins, manager)


def _rename_trial(sections: dict[str, Any], origins: Origins, manager: Manager, warn: Callable[[str], None]) -> None:
    """Renames `dataset.trial` of earlier versions, which was RegDB's split or the fold of the user's own images."""
    dataset = sections.get('dataset')
    if not isinstance(dataset, dict) or 'trial' not in dataset:
        return
    with suppress(VireidError):  # an unknown dataset is reported later
        arguments = signature_of(manager.components.get('datasets', dataset.get('type', ''))).parameters
        if name := next((name for name in ('split', 'fold') if name in arguments), None):
            dataset[name] = dataset.pop('trial')
            origins |= {('dataset', name): origins.pop(('dataset', 'trial'), '')}
            warn(f'dataset.trial was renamed: use dataset.{name}={dataset[name]}')


def _plugin_files(sections: dict[str, Any], overrides: Overrides) -> list[str]:
    """Adds the plugin files of the overrides to those of a config; returns all, as absolute paths."""
    named = sections.get('plugins', [])
    if not isinstance(named, (list, tuple)) or not all(isinstance(file, str) for file in named):
        raise WrongValue(f'plugins is {named!r}', allowed="a list of Python files: ['my_fusion.py']")
    paths = list(dict.fromkeys(str(Path(file).resolve()) for file in [*named, *overrides.plugins]))
    if paths:
        sections['plugins'] = paths
    return paths


def _read_as_text(sections: dict[str, Any], options: Any, manager: Manager) -> None:
    """Replaces the values of options with strings where only a string is valid: `name=2024` looks like a number."""
    texts = dict(option.partition('=')[::2] for option in options)  # the last option of a key counts
    problems = check_config(sections, manager) if texts else []
    for key, text in texts.items():
        if '.'.join(split_key(sections, key)) in {
            problem.path for problem in problems if isinstance(problem, DROPPABLE)
        }:
            changed = copy.deepcopy(sections)
            override(changed, f'{key}={text.strip()!r}')
            remaining = check_config(changed, manager)
            if len(remaining) < len(problems):
                override(sections, f'{key}={text.strip()!r}')
                problems = remaining
