"""Commands that consist of other commands: each step is printed before it runs, so that you can repeat it alone."""

from __future__ import annotations

from shlex import join


class StepFailed(Exception):
    """A step failed.

    Attributes:
        status: its exit status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def run_step(*arguments: str) -> None:
    """Prints a command of vireid and runs it.

    Raises:
        StepFailed: if its exit status is not 0.
    """
    from vireid.cli import main

    print(f'\n$ vireid {join(arguments)}', flush=True)
    if status := main(arguments):
        raise StepFailed(status)
