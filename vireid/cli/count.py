"""Count the parameters and operations of configs' models, as a Markdown table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vireid.boundary.showing import markdown
from vireid.cli.experiment import (
    PLUGIN_FLAGS,
    add_plugin_argument,
    default_arguments,
    make_experiment,
    read_config,
)
from vireid.core.errors import VireidError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid count`."""
    parser.add_argument('configs', nargs='+', help='config files')
    parser.add_argument('--identities', type=int, default=395, help='training identities (default: 395, SYSU-MM01)')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='K=V', help='overrides, such as images.size=[144,72]'
    )
    add_plugin_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the table."""
    if args.identities < 1:
        raise VireidError(f'--identities is {args.identities}', allowed='an integer of at least 1')
    print(table(args.configs, args.identities, args.cfg_options, args))
    return 0


def table(
    paths: Sequence[str | Path],
    identities: int = 395,
    options: Sequence[str] = (),
    args: argparse.Namespace | None = None,
) -> str:
    """Returns a Markdown table with a line for each config; `args` has the flags that say which plugins there are.

    Nothing is computed and no weights are read: models are built of shapes alone. A multiplication and an addition
    count as two operations; only convolutions and matrix products are counted.
    """
    from vireid.diagnostics.count import HEADER

    lines = [HEADER, tuple('---' for _ in HEADER)]
    flags = argparse.Namespace(**{key: getattr(args, key) for key in PLUGIN_FLAGS} if args else {})
    lines += [_line(Path(path), identities, options, flags) for path in paths]
    return '\n'.join(f'| {" | ".join(map(markdown, line))} |' for line in lines)


def _line(path: Path, identities: int, options: Sequence[str], flags: argparse.Namespace) -> tuple[str, ...]:
    from vireid.diagnostics.count import count

    config = default_arguments(config=str(path), cfg_options=options, **vars(flags))
    experiment = make_experiment(read_config(config), config)
    parts = path.with_suffix('').parts
    name = '/'.join(parts[-parts[::-1].index('configs') :]) if 'configs' in parts else path.stem
    return name, *count(experiment, identities)
