"""What `vireid plugins` prints about the installed plugins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby

from vireid.console.wording import aligned
from vireid.plugin_manager.manager import PluginManager


def plugins_json(manager: PluginManager) -> str:
    """Returns the plugins and their components as JSON."""
    components = manager.components.listing()
    listing = [
        {**asdict(p), 'components': [{'kind': c.kind, 'name': c.name} for c in components if c.plugin == p.name]}
        for p in manager.plugins
    ]
    return json.dumps(listing, indent=1)


def list_plugins(manager: PluginManager, components: bool = False) -> Iterator[str]:
    """Yields the lines of a table of the plugins, and below it why a plugin cannot be used.

    Args:
        manager: the plugins.
        components: also list all components by kind.
    """
    rows = [('plugin', 'package', 'version', 'status', 'components')]
    rows += [(p.name, p.distribution, p.version, p.status, str(p.components)) for p in manager.plugins]
    yield from aligned(rows, left=len(rows[0]))
    for plugin in manager.plugins:
        if plugin.reason:
            disabled = f'{plugin.name}: disabled {plugin.reason}'
            yield f'\n{disabled if plugin.status == "disabled" else plugin.line()}'
    if components:
        for kind, own in groupby(manager.components.listing(), key=lambda one: one.kind):
            yield f'\n{kind}'
            for component in own:
                yield f'  {component.name:<24} {component.plugin}'
