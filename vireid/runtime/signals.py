"""Stopping a run by signal: the signal is recorded, the current step finishes, and the run is saved."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# SIGINT: Ctrl-C. SIGTERM: end of session, Slurm's scancel and preemption. SIGUSR1: `sbatch --signal=USR1@60`, sent
# before the time limit. SIGHUP: the terminal was closed or the connection to it was lost.
SIGNALS = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGHUP') if hasattr(signal, name))


class Interrupted(Exception):
    """Training was stopped by a signal and has been saved.

    Attributes:
        checkpoint: the checkpoint to resume from.
        status: exit status of the interrupted command: 128 plus the signal number.
    """

    def __init__(self, checkpoint: Path, number: int = signal.SIGINT) -> None:
        super().__init__(str(checkpoint))
        self.checkpoint, self.status = checkpoint, 128 + number


class Stop:
    """The first signal received, if any."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.at = 0.0  # time of arrival

    def __bool__(self) -> bool:
        return self.number is not None

    def note(self, number: int, frame: Any) -> None:
        """Records the first signal; a second one interrupts, unless it is the first, forwarded by a launcher.

        Raises:
            KeyboardInterrupt: on a second signal more than a second after the first.
        """
        if self.number is None:
            self.number, self.at = number, time.monotonic()
        elif time.monotonic() > self.at + 1:
            raise KeyboardInterrupt


@contextmanager
def interruptible(stop: Stop) -> Iterator[None]:
    """Records signals inside the block instead of terminating; SIGHUP stays ignored under `nohup`."""
    try:
        before = {number: signal.signal(number, stop.note) for number in SIGNALS if not _is_kept(number)}
    except ValueError:  # not the main thread: the caller handles signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _is_kept(number: int) -> bool:
    """Returns whether the user wants the process to outlive its terminal."""
    return sys.platform != 'win32' and number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN
