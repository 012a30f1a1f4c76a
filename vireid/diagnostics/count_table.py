"""A Markdown table of the parameters and operations of models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vireid.boundary.showing import markdown
from vireid.core.config.overrides import Overrides
from vireid.core.registry.manager import Manager
from vireid.diagnostics.count import HEADER, count
from vireid.errors import WrongValue
from vireid.launch.resolve import resolve
from vireid.plugin_manager.manager import create_manager


def table(
    paths: Sequence[str | Path],
    identities: int = 395,
    overrides: Overrides = Overrides(),  # noqa: B008, frozen
    manager: Manager | None = None,
) -> str:
    """Returns a Markdown table with a row for each config.

    No weights are loaded: models are built on the meta device. Only convolutions and matrix products are counted; a
    multiplication and an addition count as two operations.

    Args:
        paths: the configs.
        identities: training identities, which set the size of classifiers.
        overrides: applied to each config.
        manager: the plugins; None loads the installed ones.

    Raises:
        VireidError: for an invalid config, or no identities.
    """
    if identities < 1:
        raise WrongValue(f'--identities is {identities}', allowed='an integer of at least 1')
    manager = manager or create_manager()
    rows = [HEADER, tuple('---' for _ in HEADER)]
    for path in map(Path, paths):
        rows.append((_name(path), *count(resolve(path, overrides, manager=manager), identities)))
    return '\n'.join(f'| {" | ".join(map(markdown, row))} |' for row in rows)


def _name(path: Path) -> str:
    """Returns the path below the folder `configs`, or the file name, without the suffix."""
    parts = path.with_suffix('').parts
    return '/'.join(parts[-parts[::-1].index('configs') :]) if 'configs' in parts else path.stem
