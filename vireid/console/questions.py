"""Questions to the user of a command."""

from __future__ import annotations

import sys


def is_interactive() -> bool:
    """Returns whether stdin is a terminal, on which the user can answer; it may be closed."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str, default: bool) -> bool:
    """Asks a yes-or-no question until it is answered; Enter is the default, the end of the input is no."""
    while True:
        try:
            answer = input(f'{question} [{"Y/n" if default else "y/N"}] ').strip().lower()
        except EOFError:
            return False
        if answer in ('', 'y', 'yes', 'n', 'no'):
            return default if not answer else answer[0] == 'y'
