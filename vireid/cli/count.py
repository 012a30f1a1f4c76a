"""Count the parameters and operations of models, as a Markdown table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vireid.boundary.showing import markdown
from vireid.cli.arguments import add_options_argument, add_plugin_arguments, make_manager, overrides_of
from vireid.core.config.overrides import Overrides
from vireid.core.errors import VireidError
from vireid.core.registry.manager import Manager


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid count`."""
    parser.add_argument('configs', nargs='+', help='config files')
    parser.add_argument(
        '--identities', type=int, default=395, help='number of training identities (default: 395, SYSU-MM01)'
    )
    add_options_argument(parser)
    add_plugin_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the table."""
    if args.identities < 1:
        raise VireidError(f'--identities is {args.identities}', allowed='an integer of at least 1')
    print(table(args.configs, args.identities, overrides_of(args), make_manager(args)))
    return 0


def table(
    paths: Sequence[str | Path],
    identities: int = 395,
    overrides: Overrides = Overrides(),  # noqa: B008, frozen
    manager: Manager | None = None,
) -> str:
    """Returns a Markdown table with a line for each config; with the installed plugins if `manager` is None.

    Nothing is computed and no weights are read: models are built of shapes alone. A multiplication and an addition
    count as two operations; only convolutions and matrix products are counted.
    """
    from vireid.diagnostics.count import HEADER
    from vireid.plugin_manager.manager import create_manager

    manager = manager or create_manager()
    lines = [HEADER, tuple('---' for _ in HEADER)]
    lines += [_line(Path(path), identities, overrides, manager) for path in paths]
    return '\n'.join(f'| {" | ".join(map(markdown, line))} |' for line in lines)


def _line(path: Path, identities: int, overrides: Overrides, manager: Manager) -> tuple[str, ...]:
    from vireid.diagnostics.count import count
    from vireid.launch.resolve import resolve

    experiment = resolve(path, overrides, manager=manager)
    parts = path.with_suffix('').parts
    name = '/'.join(parts[-parts[::-1].index('configs') :]) if 'configs' in parts else path.stem
    return name, *count(experiment, identities)
