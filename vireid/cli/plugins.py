"""List the installed plugins and their status, or create one (`vireid plugins new NAME`)."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from vireid.cli.arguments import add_plugin_arguments, make_manager
from vireid.core.errors import VireidError
from vireid.core.wording import aligned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid plugins`."""
    parser.add_argument('action', nargs='?', choices=['new'], help='create a package with a component and a test')
    parser.add_argument('name', nargs='?', help='name of the new package, such as vireid-my-fusion')
    add_plugin_arguments(parser)
    parser.add_argument('--components', action='store_true', help='also list all components by kind')
    parser.add_argument('--json', action='store_true', help='print everything as JSON')


def run(args: argparse.Namespace) -> None:
    """Prints a row per plugin, and below the table why a plugin cannot be used."""
    if args.action == 'new':
        _new(args.name)
        return
    manager = make_manager(args, args.plugin, warn=lambda line: None)
    components = manager.components.listing()
    if args.json:
        listing = [
            {**asdict(p), 'components': [{'kind': c.kind, 'name': c.name} for c in components if c.plugin == p.name]}
            for p in manager.plugins
        ]
        print(json.dumps(listing, indent=1))
        return
    rows = [('plugin', 'package', 'version', 'status', 'components')]
    rows += [(p.name, p.distribution, p.version, p.status, str(p.components)) for p in manager.plugins]
    print('\n'.join(aligned(rows, left=len(rows[0]))))
    for plugin in manager.plugins:
        if plugin.reason:
            print(
                f'\n{plugin.name}: {plugin.status} {plugin.reason}'
                if plugin.status == 'disabled'
                else f'\n{plugin.line()}'
            )
    if args.components:
        kind = ''
        for component in components:
            if component.kind != kind:
                kind = component.kind
                print(f'\n{kind}')
            print(f'  {component.name:<24} {component.plugin}')


def _new(name: str | None) -> None:
    """Writes a package and prints the next command."""
    from vireid.plugin_manager.new_plugin import write_plugin

    if name is None:
        raise VireidError('vireid plugins new needs a name', todo='vireid plugins new vireid-my-fusion')
    print('\n'.join(map(str, write_plugin(name, Path()))))
    print(f"\nnext: pip install -e './{name}[test]' && pytest {name}")
