"""Finish one run of a study. Launchers call it: python -m vireid.cli.job runs/ablate/.../job.yaml"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vireid.cli import main
from vireid.console.warn import warn_once


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the file of the job."""
    parser.add_argument('file', type=Path, help='written by the command that runs the study')


def run(args: argparse.Namespace) -> int:
    """Trains or resumes the run, after its stages; returns the exit status, 143 after SIGTERM."""
    from vireid.studies.follow_launcher import follow_launcher

    follow_launcher()
    from vireid.studies.jobs import finish
    from vireid.studies.launching import read_job
    from vireid.studies.resumable import run_resumable

    job, may_move = read_job(args.file)
    return run_resumable(lambda: finish(job, may_move, warn=warn_once, every=5))


if __name__ == '__main__':
    sys.exit(main(command=sys.modules[__name__]))
