"""Stopping a run from outside: a signal is noted, the step is finished, the run is saved."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Ctrl-C; the end of a session, or Slurm's scancel and pre-emption; what `sbatch --signal=USR1@60` sends ahead of it; a
# terminal that is closed, or a connection to it that is lost
SIGNALS = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGHUP') if hasattr(signal, name))


class Interrupted(Exception):
    """Training stopped on a signal after saving.

    Attributes:
        checkpoint: to go on from.
        status: exit status of a command that was stopped so: 128 and the signal's number.
    """

    def __init__(self, checkpoint: Path, number: int = signal.SIGINT) -> None:
        super().__init__(str(checkpoint))
        self.checkpoint, self.status = checkpoint, 128 + number


class Stop:
    """The first signal that came, if any."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.at = 0.0  # when it came

    def __bool__(self) -> bool:
        return self.number is not None

    def note(self, number: int, frame: Any) -> None:
        """Notes the first signal; a second one interrupts, unless it is the same one passed on by a launcher."""
        if self.number is None:
            self.number, self.at = number, time.monotonic()
        elif time.monotonic() > self.at + 1:
            raise KeyboardInterrupt


@contextmanager
def interruptible(stop: Stop) -> Iterator[None]:
    """Notes signals inside the block instead of dying of them; SIGHUP stays ignored if it was (`nohup`)."""
    try:
        before = {number: signal.signal(number, stop.note) for number in SIGNALS if not _is_kept(number)}
    except ValueError:  # not the main thread: whoever runs us handles signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _is_kept(number: int) -> bool:
    """Says whether someone has decided that the process outlives its terminal."""
    return number == getattr(signal, 'SIGHUP', None) and signal.getsignal(number) == signal.SIG_IGN
