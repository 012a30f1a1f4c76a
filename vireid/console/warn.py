"""Warnings that a command prints once, even if it starts several runs."""

from __future__ import annotations

import sys

_warned: set[str] = set()


def warn_once(line: str) -> None:
    """Prints a warning to stderr unless this process has already printed it."""
    if line not in _warned:
        _warned.add(line)
        print(f'warning: {line}', file=sys.stderr)
