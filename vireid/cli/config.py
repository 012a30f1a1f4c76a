"""Check configs, show where their values come from, or compare two.

Exit status: 0; 1 if `diff` finds a difference; 2 for an invalid config.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vireid.cli.arguments import add_options_argument, add_plugin_arguments, make_manager, overrides_of
from vireid.core.errors import VireidError

if TYPE_CHECKING:
    from vireid.launch.resolve import Config


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
    if args.config_command == 'show':
        return _show(args.configs[0], args)
    return _diff(args.configs[0], args.configs[1], args)


def _read(path: str, args: argparse.Namespace) -> Config:
    from vireid.launch.resolve import read

    return read(path, overrides_of(args), make_manager(args))


def _check(path: str, args: argparse.Namespace) -> int:
    from vireid.diagnostics.config_problems import config_problems, problems_text

    try:
        problems = config_problems(path, overrides_of(args), make_manager(args))
    except VireidError as error:
        problems = [error]
    print(problems_text(path, problems))
    return 2 if problems else 0


def _show(path: str, args: argparse.Namespace) -> int:
    from vireid.diagnostics.config_origins import annotate

    config = _read(path, args)
    for line in annotate(config.sections, config.origins):
        print(line)
    return 0


def _diff(first: str, second: str, args: argparse.Namespace) -> int:
    from vireid.reporting.config_differences import describe, differences

    changes = differences([_read(path, args).sections for path in (first, second)])
    changes.pop(('name',), None)  # it comes from the file name
    print('\n'.join(describe(changes)) or 'no difference')
    return 1 if changes else 0
