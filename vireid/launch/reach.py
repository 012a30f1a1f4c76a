"""Components that reach beyond the folder of a run, which YAML and JSON configs cannot enable; see SECURITY.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vireid.boundary.received import ADDRESS, DATA, texts
from vireid.errors import VireidError
from vireid.interfaces import Logger, Reader


def reaching(config: Mapping[str, Any], manager: Any) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """Returns the loggers and the reader of a config that reach beyond the folder of a run.

    A component declares this with `reaches_out = True`; a component that is given an address counts too.

    Returns:
        For each, its section (`('loggers',)` or `('images', 'reader')`) and its config.
    """
    loggers, images = config.get('loggers'), config.get('images')
    named: list[tuple[str, tuple[str, ...], Any]]
    named = [('loggers', ('loggers',), own) for own in (loggers if isinstance(loggers, (list, tuple)) else ())]
    if isinstance(images, Mapping):
        named.append(('readers', ('images', 'reader'), images.get('reader')))
    outside = []
    for kind, place, own in named:
        if isinstance(own, dict) and isinstance(own.get('type'), str):
            try:
                component = manager.components.get(kind, own['type'])
            except VireidError:  # reported when the config is checked
                continue
            if (Logger if kind == 'loggers' else Reader).reaches_out(component) or any(
                ADDRESS.match(text.strip()) for _, text in texts(own)
            ):
                outside.append((place, own))
    return outside


def leave_out(
    config: dict[str, Any], origins: Mapping[tuple[str, ...], str], manager: Any, tell: Callable[[str], None]
) -> None:
    """Disables components that reach beyond the folder of a run if a YAML or JSON config sets them.

    Args:
        config: the sections; changed in place.
        origins: the file, flag or override that each value comes from.
        manager: the plugin manager that knows the components.
        tell: called with one line for each disabled component.
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
            f'{".".join(place)}: {own["type"]} is disabled for this run, because it reaches beyond the folder of the '
            f'run and {source} is a YAML or JSON config; if you trust that file, add --trust-config'
        )
