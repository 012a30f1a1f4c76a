"""The command line: one small file per verb. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from vireid import __version__
from vireid.cli import ablate, components, count, data, plugins, score, test, train
from vireid.core.errors import VireidError

VERBS = {
    'train': train,
    'test': test,
    'score': score,
    'ablate': ablate,
    'count': count,
    'data': data,
    'plugins': plugins,
    'components': components,
}


def main(arguments: Sequence[str] | None = None, verb: ModuleType | None = None) -> int:
    """Runs a command line.

    Args:
        arguments: without the program's name; the process's own if None.
        verb: the one verb of this program (`tools/train.py`); None takes it from the arguments (`vireid train`).

    Returns:
        The exit status: 0, 2 for an error the user can mend, 130 after Ctrl-C.
    """
    parsed = _parser(verb).parse_args(arguments)
    try:
        return parsed.run(parsed)
    except VireidError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has seen enough
            sys.stderr.close()
            return 141
        print(f'error: {error}\n  next:    free some space or mend the permissions', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130


def _parser(verb: ModuleType | None) -> argparse.ArgumentParser:
    if verb is not None:
        parser = argparse.ArgumentParser(description=_summary(verb))
        _add(parser, verb)
        return parser
    parser = argparse.ArgumentParser(prog='vireid', description='Visible-infrared person re-identification.')
    parser.add_argument('--version', action='version', version=f'vireid {__version__}')
    verbs = parser.add_subparsers(dest='verb', required=True, metavar='VERB')
    for name, module in VERBS.items():
        _add(verbs.add_parser(name, help=_summary(module), description=_summary(module)), module)
    return parser


def _add(parser: argparse.ArgumentParser, verb: ModuleType) -> None:
    verb.add_arguments(parser)
    parser.set_defaults(run=verb.run)


def _summary(verb: ModuleType) -> str:
    return (verb.__doc__ or '').splitlines()[0]
