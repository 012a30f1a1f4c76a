"""Repeat a finished run from its folder and check that the results are identical.

The same machine and versions give the same numbers, bit for bit, on a CPU; on a GPU, the last bits vary.

Exit status: 0 if all is equal, 1 if something differs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.boundary.paths import inside
from vireid.cli.arguments import add_folder_argument, add_plugin_arguments, make_manager, overrides_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid rerun`."""
    parser.add_argument('folder', type=Path, metavar='RUN', help='the folder of a finished run')
    add_folder_argument(parser, 'RUN-again')
    parser.add_argument('--data-root', metavar='DIR', help="the dataset's folder, if it has moved")
    add_plugin_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains the run again and prints the comparison."""
    from vireid.launch.rank_output import quiet_others
    from vireid.launch.resolve import resolve
    from vireid.runtime.processes import wait_for_all
    from vireid.studies.repetition import read_finished, repeat

    record = read_finished(args.folder)
    work_dir = args.work_dir or args.folder.with_name(f'{args.folder.name}-again')
    config = str(inside(args.folder, 'config.yaml'))
    experiment = resolve(config, overrides_of(args), manager=make_manager(args))
    repetition = repeat(experiment, args.folder, work_dir, record)
    quiet_others()
    print(f'\n{repetition.text()}')
    wait_for_all()  # a launcher kills the other processes as soon as one has exited
    return 0 if all(repetition.equal.values()) else 1
