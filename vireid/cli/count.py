"""Count the parameters and operations of models, as a Markdown table."""

from __future__ import annotations

import argparse

from vireid.cli.arguments import add_options_argument, add_plugin_arguments, make_manager, overrides_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid count`."""
    parser.add_argument('configs', nargs='+', help='config files')
    parser.add_argument(
        '--identities', type=int, default=395, metavar='N', help='training identities (default: 395, as in SYSU-MM01)'
    )
    add_options_argument(parser)
    add_plugin_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Prints the table."""
    from vireid.diagnostics.count_table import table

    print(table(args.configs, args.identities, overrides_of(args), make_manager(args)))
