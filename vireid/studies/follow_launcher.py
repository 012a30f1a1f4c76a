"""What a launched process does about its launcher; imports nothing, since it comes before the slow imports."""

from __future__ import annotations

import os
import signal
import threading


def follow_launcher() -> None:
    """Ends this process when its launcher ends, and leaves a signal of Slurm to the launcher."""
    if os.environ.pop('VIREID_ENDS_WITH_STDIN', '') == '1':
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    if hasattr(signal, 'SIGUSR2'):  # Slurm may send it to all processes; the launcher's answers
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _end_with_stdin() -> None:
    """Stops this process like Ctrl-C once the launcher has ended, even if it was killed."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
