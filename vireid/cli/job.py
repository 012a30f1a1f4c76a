"""Finish one run of a study. Launchers call it: python -m vireid.cli.job runs/ablate/.../job.yaml"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from vireid.cli import main
from vireid.cli.output import run_resumable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the file of the job."""
    parser.add_argument('file', type=Path, help='written by the command that runs the study')


def run(args: argparse.Namespace) -> int:
    """Trains or resumes the run, after its stages; returns the exit status, 143 after SIGTERM."""
    if os.environ.pop('VIREID_ENDS_WITH_STDIN', '') == '1':
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    if hasattr(signal, 'SIGUSR2'):  # Slurm may send it to all processes; the launcher's answers
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    from vireid.core.warn import warn_once
    from vireid.studies.jobs import finish
    from vireid.studies.launching import read_job

    job, may_move = read_job(args.file)
    return run_resumable(lambda: finish(job, may_move, warn=warn_once, every=5))


def _end_with_stdin() -> None:
    """Stops this process like Ctrl-C once the launcher has ended, even if it was killed."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == '__main__':
    sys.exit(main(command=sys.modules[__name__]))
