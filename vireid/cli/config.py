"""Check configs, show where their values come from, or compare two.

Exit status: 0; 1 if `diff` finds a difference; 2 for an invalid config.
"""

from __future__ import annotations

import argparse

from vireid.cli.arguments import add_options_argument, add_plugin_arguments, make_manager, overrides_of
from vireid.errors import VireidError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the commands of `vireid config`."""
    commands = parser.add_subparsers(dest='config_command', required=True, metavar='COMMAND')
    for name, summary, many in (
        ('check', 'report every error of configs, without data, weights or a GPU', '+'),
        ('show', 'print a config with the file that each value comes from', 1),
        ('diff', 'print the differences between two configs', 2),
    ):
        command = commands.add_parser(name, help=summary, description=f'{summary[0].upper()}{summary[1:]}.')
        command.add_argument('configs', nargs=many, metavar='FILE', help='a config file, or package::file')
        add_options_argument(command)
        add_plugin_arguments(command)


def run(args: argparse.Namespace) -> int:
    """Runs one of the commands."""
    if args.config_command == 'check':
        return max([_check(path, args) for path in args.configs])
    from vireid.diagnostics.config_origins import annotate
    from vireid.launch.resolve import read
    from vireid.reporting.config_differences import describe, differences

    configs = [read(path, overrides_of(args), make_manager(args)) for path in args.configs]
    if args.config_command == 'show':
        print('\n'.join(annotate(configs[0].sections, configs[0].origins)))
        return 0
    changes = differences([config.sections for config in configs])
    changes.pop(('name',), None)  # it comes from the file name
    print('\n'.join(describe(changes)) or 'no difference')
    return 1 if changes else 0


def _check(path: str, args: argparse.Namespace) -> int:
    """Prints the errors of a config; returns the exit status."""
    from vireid.diagnostics.config_problems import config_problems, problems_text

    try:
        problems = config_problems(path, overrides_of(args), make_manager(args))
    except VireidError as error:
        problems = [error]
    print(problems_text(path, problems))
    return 2 if problems else 0
