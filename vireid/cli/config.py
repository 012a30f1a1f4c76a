"""Check configs, show where their values come from, or compare two.

Exit status: 0; 1 if `diff` finds a difference; 2 for an invalid config.
"""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

from vireid.cli.arguments import add_options_argument, add_plugin_arguments, make_manager, overrides_of
from vireid.core.errors import VireidError

if TYPE_CHECKING:
    from vireid.launch.resolve import Config

# may be unset in a config, because the command that starts a run provides it
FILLED = ('dataset.root',)


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
    try:
        config = _read(path, args)  # can reject a file without importing torch

        from vireid.launch.preflight import find_problems

        problems = find_problems(config.sections, config.manager, FILLED)
        stages = config.sections.get('stages', [])
        for position, stage in enumerate(stages if isinstance(stages, (list, tuple)) else ()):
            problems += [error.at(f'stages.{position}') for error in _stage_problems(str(stage), args)]
    except VireidError as error:
        problems = [error]
    if not problems:
        print(f'{path}: no errors')
        return 0
    print(f'{path}: {len(problems)} error{"s" if len(problems) > 1 else ""}')
    for problem in problems:
        print(textwrap.indent(str(problem), '  '))
    return 2


def _stage_problems(path: str, args: argparse.Namespace) -> list[VireidError]:
    from vireid.launch.preflight import find_problems

    try:
        config = _read(path, args)
        return find_problems(config.sections, config.manager, FILLED)
    except VireidError as error:
        return [error]


def _show(path: str, args: argparse.Namespace) -> int:
    from vireid.diagnostics.config_origins import annotate

    config = _read(path, args)
    for line in annotate(config.sections, config.origins):
        print(line)
    return 0


def _diff(first: str, second: str, args: argparse.Namespace) -> int:
    from vireid.boundary.config_text import dump_value
    from vireid.reporting.config_differences import MISSING, differences

    changes = differences([_read(path, args).sections for path in (first, second)])
    changes.pop(('name',), None)  # it comes from the file name
    for place, (old, new) in changes.items():
        key = '.'.join(place)
        if new is MISSING:
            print(f'- {key}: {dump_value(old)}')
        elif old is MISSING:
            print(f'+ {key}: {dump_value(new)}')
        else:
            print(f'~ {key}: {dump_value(old)} -> {dump_value(new)}')
    if not changes:
        print('no difference')
    return 1 if changes else 0
