"""List the installed plugins and their status, or create one (`vireid plugins new NAME`)."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli.arguments import add_plugin_arguments, make_manager
from vireid.errors import MissingKey


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid plugins`."""
    parser.add_argument('action', nargs='?', choices=['new'], help='create a package with a component and a test')
    parser.add_argument('name', nargs='?', help='name of the new package, such as vireid-my-fusion')
    about = 'component in the new package (default: neck)'
    parser.add_argument('--part', choices=['neck', 'loss'], default='neck', help=about)
    add_plugin_arguments(parser)
    parser.add_argument('--components', action='store_true', help='also list all components by kind')
    parser.add_argument('--json', action='store_true', help='print everything as JSON')


def run(args: argparse.Namespace) -> None:
    """Prints a row per plugin, and below the table why a plugin cannot be used."""
    if args.action == 'new':
        _new(args.name, args.part)
        return
    from vireid.diagnostics.plugin_listing import list_plugins, plugins_json

    manager = make_manager(args, args.plugin, warn=lambda line: None)
    for line in [plugins_json(manager)] if args.json else list_plugins(manager, args.components):
        print(line)


def _new(name: str | None, part: str) -> None:
    """Writes a package and prints the next command."""
    from vireid.plugin_manager.new_plugin import write_plugin

    if name is None:
        raise MissingKey('vireid plugins new needs a name', todo='vireid plugins new vireid-my-fusion')
    print('\n'.join(map(str, write_plugin(name, Path(), part))))
    print(f"\nnext: pip install -e './{name}[test]' && pytest {name}")
