"""List the installed plugins and the components they bring."""

from __future__ import annotations

import argparse

from vireid.cli.experiment import add_plugin_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid plugins`."""
    add_plugin_argument(parser)
    parser.add_argument('--components', action='store_true', help='also list every component, by kind')


def run(args: argparse.Namespace) -> int:
    """Prints a line for each plugin."""
    from vireid.core.plugins import create_manager

    manager = create_manager(args.plugin)
    rows = [('plugin', 'package', 'version', 'components')]
    rows += [(p.name, p.distribution, p.version, str(p.components)) for p in manager.plugins]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print('  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if args.components:
        kind = ''
        for component in manager.components.listing():
            if component.kind != kind:
                kind = component.kind
                print(f'\n{kind}')
            print(f'  {component.name:<24} {component.plugin}')
    return 0
