"""What a config that is data may not do by itself: contact an address, or write outside the run's folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vireid.boundary.paths import is_inside
from vireid.core.errors import VireidError

DATA = ('.yaml', '.yml', '.json')
ADDRESS = re.compile(r'[a-z][a-z0-9+.-]+://|\\\\', re.IGNORECASE)  # a URL, or a shared folder of Windows


def require_data(name: str, locate: Callable[[], Path], path: Path, what: str, trust: bool = False) -> None:
    """Raises unless a file that a config names is data too, in the folder of the config or below it.

    Args:
        name: of the file, as the config has it.
        locate: finds the file.
        path: of the config, which is data.
        what: what the file is to the config: `base` or `stage`.
        trust: the file may lie elsewhere.
    """
    python = Path(name).suffix == '.py'
    file = path if python else locate()
    real = Path(file.resolve())  # what is opened: the suffix may be that of a link
    if python or real.suffix == '.py':
        raise VireidError(
            f'config {path}: its {what} {name} is Python, and loading {path.suffix} executes nothing',
            todo=f'write the {what} as YAML (vireid train {name} --print-config), or this config as Python',
        )
    folder = path.parent
    outside = '::' not in name and (Path(name).is_absolute() or '..' in Path(name).parts or not is_inside(file, folder))
    if real.suffix not in DATA or (outside and not trust):
        raise VireidError(
            f'config {path}: its {what} is {name}, and a config that is data names no file outside its folder',
            allowed=f'a {" or ".join(DATA)} file below {folder}, without ..',
            todo='copy the file into the folder; or, if you trust this config, add --trust-config (from Python: '
            'trust_config=True)',
        )


def require_no_address(config: Mapping[str, Any], path: Path) -> None:
    """Raises if a config that is data names an address anywhere but in a logger, where it is left out."""
    for place, text in _texts({key: value for key, value in config.items() if key != 'loggers'}):
        if ADDRESS.match(text.strip()):
            raise VireidError(
                f'config {path}: {place} is the address {text!r}, and a config that is data names none',
                allowed='a path of this machine',
                todo=f"if you trust it, take {place} out of the file and set it yourself: --cfg-options {place}='...'",
            )


def reaching(config: Mapping[str, Any], manager: Any) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """Finds the loggers and the reader of a config that reach beyond the folder of a run.

    A component says that it does by `reaches_out = True`; a logger that is given an address does too.

    Returns:
        Their sections, `('loggers',)` or `('images', 'reader')`, and configs.
    """
    loggers, images = config.get('loggers'), config.get('images')
    named: list[tuple[str, tuple[str, ...], Any]]
    named = [('loggers', ('loggers',), own) for own in (loggers if isinstance(loggers, (list, tuple)) else ())]
    if isinstance(images, Mapping):
        named.append(('readers', ('images', 'reader'), images.get('reader')))
    found = []
    for kind, place, own in named:
        if isinstance(own, dict) and isinstance(own.get('type'), str):
            try:
                component = manager.components.get(kind, own['type'])
            except VireidError:  # told where the config is checked
                continue
            if getattr(component, 'reaches_out', False) or any(ADDRESS.match(text.strip()) for _, text in _texts(own)):
                found.append((place, own))
    return found


def leave_out(
    config: dict[str, Any], origins: Mapping[tuple[str, ...], str], manager: Any, tell: Callable[[str], None]
) -> None:
    """Leaves out what reaches beyond the folder of a run if a config that is data says so.

    Args:
        config: its sections; changed in place.
        origins: the file, flag or override that each value came from.
        manager: the plugins whose components it names.
        tell: is called with a line for each component that is left out.
    """
    for place, own in reaching(config, manager):
        source = next((o for key, o in origins.items() if key[: len(place)] == place and Path(o).suffix in DATA), None)
        if source is None:
            continue
        if place == ('loggers',):
            config['loggers'] = [logger for logger in config['loggers'] if logger is not own]
        else:
            config['images'] = {**config['images'], 'reader': None}
        tell(
            f'{".".join(place)}: {own["type"]} is left out: it reaches beyond the folder of the run, and {source} is '
            'data; if you trust that file, add --trust-config'
        )


def _texts(value: Any, place: str = '') -> Iterator[tuple[str, str]]:
    """Yields the texts in nested values, each with its dotted path."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f'{place}.{key}' if place else str(key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _texts(item, f'{place}.{number}')
