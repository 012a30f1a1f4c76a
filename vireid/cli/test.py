"""Score a checkpoint by a config's protocol."""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.cli.experiment import add_arguments as add_experiment_arguments
from vireid.cli.experiment import make_experiment, read_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid test`."""
    parser.add_argument('config', help='the config it was trained with, or one with the same model')
    parser.add_argument('checkpoint', type=Path, help='a checkpoint, such as runs/tffn_sysu/checkpoints/last.pt')
    add_experiment_arguments(parser)
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='where rankings.png and report.html go')


def run(args: argparse.Namespace) -> int:
    """Prints the result table."""
    experiment = make_experiment(read_config(args))
    from vireid.core.run import test

    test(experiment, args.checkpoint, args.work_dir or args.checkpoint.absolute().parent.parent / 'test')
    return 0
