"""The command line: one module per command, plus commands of plugins. Heavy imports wait until a command runs."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vireid import __version__
from vireid.boundary.torch_import import prepare_torch_import
from vireid.cli.arguments import add_plugin_arguments, make_manager
from vireid.cli.commands import GROUPS, NAMES
from vireid.console.os_errors import explain
from vireid.console.streams import find_lost, process_name, surviving
from vireid.errors import UnknownKey, UnknownName, VireidError, did_you_mean

if TYPE_CHECKING:
    from vireid.plugin_manager.manager import Command

COMMANDS = {name: importlib.import_module(f'vireid.cli.{name}') for name in NAMES}


def main(arguments: Sequence[str] | None = None, command: ModuleType | None = None) -> int:
    """Runs a command line. A closed output pipe neither stops the command nor changes its exit status.

    Args:
        arguments: the arguments without the program name; None uses `sys.argv`.
        command: the only command of this program (`tools/train.py`); None reads it from the arguments (`vireid train`).

    Returns:
        The exit status: 0; 2 for an error that you can fix, including output lost to a full disk; 130 after Ctrl-C.
    """
    with surviving() as outputs:
        try:
            status = _status(arguments, command)
        except SystemExit as ended:  # from argparse
            if not ended.code and _report(find_lost(outputs)):
                raise SystemExit(2) from None
            raise
        return 2 if _report(find_lost(outputs)) and status < 128 else status


def _status(arguments: Sequence[str] | None, command: ModuleType | None) -> int:
    """Runs a command line, prints its errors, and returns its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    prepare_torch_import()
    try:
        if command is None:
            return _run(arguments)
        parser = argparse.ArgumentParser(**_description(command))
        _add(parser, command)
        parsed = parser.parse_args(arguments)
        return parsed.run(parsed) or 0
    except (VireidError, OSError, RuntimeError) as error:
        if (explained := _explain(error)) is None:
            raise
        _report([explained])
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    finally:
        if 'torch' in sys.modules:
            from vireid.runtime.processes import leave

            leave()


def _report(errors: Sequence[VireidError]) -> bool:
    """Prints errors; returns whether there are any."""
    for error in errors:
        print(f'{process_name()}error: {error}', file=sys.stderr)
    return bool(errors)


def _explain(error: VireidError | OSError | RuntimeError) -> VireidError | None:
    """Returns an error in words; None for one of a program."""
    if isinstance(error, VireidError):
        return error
    if isinstance(error, OSError):
        return explain(error)
    if 'torch' not in sys.modules:
        return None
    from vireid.runtime.processes import explain_loss

    return explain_loss(error)  # another process of the run may be lost


def _run(arguments: list[str]) -> int:
    """Runs a command of vireid or of a plugin; prints the help if there is none."""
    scanner = argparse.ArgumentParser(prog='vireid', add_help=False, allow_abbrev=False)
    add_plugin_arguments(scanner)
    flags, rest = scanner.parse_args([]), arguments
    if arguments and arguments[0] not in COMMANDS:  # plugin flags may precede the command
        flags, rest = scanner.parse_known_args(arguments)
    if rest is not arguments and rest[:1] and rest[0] in COMMANDS:  # move them behind the command, which checks them
        for name, values in vars(flags).items():
            for value in values if isinstance(values, list) else [None] * values:
                rest += [f'--{name.replace("_", "-")}', *([str(value)] if value is not None else [])]
    parser = _parser(flags, rest)
    if not rest:
        parser.print_help()
        return 0
    parsed, unknown = parser.parse_known_args(rest)
    if unknown:
        raise _unknown(unknown, parser, rest[0])
    for name, value in vars(flags).items():
        if rest[0] not in COMMANDS and hasattr(parsed, name):  # a plugin's command may have the same flags
            setattr(parsed, name, value)
    return parsed.run(parsed) or 0


def _parser(flags: argparse.Namespace, arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='vireid', description='Visible-infrared person re-identification.')
    parser.color = False  # type: ignore[attr-defined]
    parser.add_argument('--version', action='version', version=f'vireid {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name, module in COMMANDS.items():  # without help: the epilog lists them in groups
        _add(commands.add_parser(name, **_description(module)), module)
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _overview()
    if not arguments or arguments[0] not in COMMANDS:  # load plugins only for their own commands, or to list all
        for name, command in make_manager(flags, flags.plugin).commands.items():
            text = command.help.replace('%', '%%')  # argparse expands %
            subparser = commands.add_parser(name, help=f'{text} [{command.plugin}]', description=text)
            if arguments and arguments[0] == name:
                _add_plugin_command(subparser, name, command)
    if arguments and not arguments[0].startswith('-') and arguments[0] not in commands.choices:
        given = f'no command {arguments[0]!r}{did_you_mean(arguments[0], commands.choices)}'
        raise UnknownName(given, allowed=', '.join(commands.choices), todo='see vireid --help')
    return parser


def _unknown(words: Sequence[str], parser: argparse.ArgumentParser, command: str) -> UnknownKey:
    """Returns the error for arguments that a command does not accept."""
    word = next((word for word in words if word.startswith('-')), words[0]).partition('=')[0]
    flags = [flag for own in _commands(parser)[command] for flag in own._option_string_actions]
    near = did_you_mean(word, flags) if word.startswith('--') else ''
    return UnknownKey(f'vireid {command} does not accept {word!r}{near}', todo=f'see vireid {command} --help')


def _commands(parser: argparse.ArgumentParser) -> dict[str, list[argparse.ArgumentParser]]:
    """Returns the parsers of each command: its own, and those of commands inside it, such as `data check`."""
    inside = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: [own, *chain(*_commands(own).values())] for choices in inside for name, own in choices.items()}


def _overview() -> str:
    """Lists vireid's own commands by group, one per line."""
    lines = []
    for title, names in GROUPS.items():
        lines += [f'{title}:', *(f'  {name:<12}{_summary(COMMANDS[name])}' for name in names), '']
    return '\n'.join([*lines, 'vireid COMMAND --help describes a command.'])


def _add_plugin_command(parser: argparse.ArgumentParser, name: str, command: Command) -> None:
    """Adds the command of a plugin; its errors name the plugin."""
    from vireid.plugin_manager.command_errors import loading, running

    def run(args: argparse.Namespace) -> int | None:
        with running(name, command):
            return module.run(args)

    with loading(name, command):
        module = importlib.import_module(command.module)
        module.add_arguments(parser)
    parser.set_defaults(run=run)


def _add(parser: argparse.ArgumentParser, command: ModuleType) -> None:
    parser.color = False  # type: ignore[attr-defined]  # Python 3.14 adds escape sequences, which would be shown escaped
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)


def _summary(command: ModuleType) -> str:
    return (command.__doc__ or '').partition('\n')[0]  # python -OO has none


def _description(command: ModuleType) -> dict[str, Any]:
    """Returns the options of a parser whose description is the docstring of a command."""
    return {'description': (command.__doc__ or '').strip(), 'formatter_class': argparse.RawDescriptionHelpFormatter}
