"""Progress of a command that makes its user wait."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PLAIN = 30  # seconds between two lines if there is no terminal


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[..., None]]:
    """Shows progress while the block runs: a bar on a terminal, otherwise a line every 30 seconds on stderr.

    Yields:
        A callback `show(done, total, what=None)` that updates the bar and its description.
    """
    from rich.progress import Progress  # slow, and most commands show none

    from vireid.console.terminal import Terminal

    # a bar that is not on a terminal would leave an empty line
    disable = not sys.stdout.isatty()
    with Progress(console=Terminal(), transient=True, refresh_per_second=4, disable=disable) as bar:
        task, last = bar.add_task(what), time.monotonic()
        name = what

        def show(done: int, total: int, what: str | None = None) -> None:
            nonlocal last
            bar.update(task, description=what, completed=done, total=total)
            if disable and time.monotonic() - last > PLAIN:
                last = time.monotonic()
                print(f'{what or name}: {done:,} of {total:,}', file=sys.stderr)

        yield show


@contextmanager
def named_progress_bar(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """Shows progress as `progress_bar`, of work with several parts.

    Yields:
        A callback `show(what, done, total)`.
    """
    with progress_bar(what) as show:
        yield lambda part, done, total: show(done, total, part)
