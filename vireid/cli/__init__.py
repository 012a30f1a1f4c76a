"""The command line: one small file per verb. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from vireid import __version__
from vireid.cli import data, plugins, test, train
from vireid.core.errors import VireidError

VERBS = {'train': train, 'test': test, 'data': data, 'plugins': plugins}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line.

    Args:
        arguments: without the program's name; the process's own if None.

    Returns:
        The exit status: 0, 2 for an error the user can mend, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog='vireid', description='Visible-infrared person re-identification.')
    parser.add_argument('--version', action='version', version=f'vireid {__version__}')
    verbs = parser.add_subparsers(dest='verb', required=True, metavar='VERB')
    for name, module in VERBS.items():
        summary = (module.__doc__ or '').splitlines()[0]
        verb = verbs.add_parser(name, help=summary, description=summary)
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    parsed = parser.parse_args(arguments)
    try:
        return parsed.run(parsed)
    except VireidError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        return 141
