"""List the components that configs can name, or describe one of them."""

from __future__ import annotations

import argparse

from vireid.cli.arguments import add_plugin_arguments, make_manager


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid components`."""
    parser.add_argument('kind', nargs='?', help='list one kind only, such as necks')
    parser.add_argument('name', nargs='?', help='describe one component, such as MLFM')
    add_plugin_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Prints the list, or the description of one component."""
    from vireid.diagnostics.component_listing import describe_component, list_components

    components = make_manager(args, args.plugin).components
    if args.name is None:
        lines = list_components(components, args.kind)
    else:
        lines = describe_component(components, args.kind, args.name)
    for line in lines:
        print(line)
