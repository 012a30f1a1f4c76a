"""Train and evaluate the model of a config.

Exit status: 0; 2 for an error that you can fix; 128 plus the signal number after a signal, once a checkpoint
is saved: 130 for Ctrl-C, 143 for SIGTERM, 138 for SIGUSR1, 129 for SIGHUP (closed terminal).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vireid.cli import arguments
from vireid.cli.output import print_result
from vireid.console.warn import warn_once
from vireid.errors import Conflict

if TYPE_CHECKING:
    from vireid.core.config.experiment import Experiment
    from vireid.core.config.overrides import Overrides
    from vireid.plugin_manager.manager import PluginManager


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid train`."""
    parser.add_argument('config', help='a config file, such as vireid::tffn_sysu.py')
    group = arguments.add_experiment_arguments(parser)
    arguments.add_folder_argument(group, 'runs/CONFIG, or runs/CONFIG-2 and so on if it exists')
    group.add_argument(
        '--resume',
        nargs='?',
        const='',
        metavar='FILE',
        help='resume from a checkpoint (default: the newest one in --work-dir; without it, in all runs named after '
        'CONFIG)',
    )
    group.add_argument(
        '--init', type=Path, metavar='FILE', help='initialize the weights from the checkpoint of another run'
    )
    group.add_argument(
        '--partial', action='store_true', help='with --init, load only matching weights and report the coverage'
    )
    group.add_argument(
        '--splits',
        metavar='1-10',
        help='train a model on each of these splits (RegDB) and report the mean; resumes automatically',
    )
    group.add_argument(
        '--folds', type=int, metavar='K', help='K-fold cross-validation on your own images; resumes automatically'
    )
    arguments.add_launcher_arguments(parser)
    parser.add_argument(
        '--dry-run', action='store_true', help='try one step and one evaluation on random images, without the data'
    )
    parser.add_argument(
        '--graph', action='store_true', help='like --dry-run, but also print the model graph as Mermaid text'
    )
    parser.add_argument('--print-config', action='store_true', help='print the resolved config and exit')


def run(args: argparse.Namespace) -> int:
    """Trains and evaluates; the docstring of the module lists the exit statuses."""
    overrides, manager, dry = arguments.overrides_of(args), arguments.make_manager(args), args.dry_run or args.graph
    if args.folds is not None or args.splits is not None:
        from vireid.studies.splits import one_split, split_numbers

        numbers = split_numbers(args.splits, args.folds)
        if not (dry or args.print_config):
            return _train_splits(args, numbers, overrides, manager)
        overrides = one_split(overrides, numbers[0], args.folds)  # the others differ only in their split
    elif args.jobs is not None or args.launcher:
        raise Conflict(
            f'{"--launcher" if args.launcher else "--jobs"} trains several runs at once, but this is a single run',
            todo='remove it, or add --splits 1-10 or --folds 5; to use several GPUs for one run: --devices N',
        )
    from vireid.boundary.config_text import dump
    from vireid.launch.resolve import read, resolve

    if args.print_config:
        print(dump(read(args.config, overrides, manager).sections), end='')
        return 0
    experiment = resolve(args.config, overrides, manager=manager)
    if args.init and args.resume is not None:
        raise Conflict('--init starts a new run, but --resume continues one', todo='use only one of them')
    if dry:
        from vireid.diagnostics.dry_run import dry_run

        print(dry_run(experiment, graph=args.graph))
        return 0
    if experiment.stages:
        return _train_stages(args, experiment, overrides)
    from vireid.launch import launch
    from vireid.launch.rank_output import quiet_others
    from vireid.launch.run_folder import choose_folder, resume_command
    from vireid.runtime.processes import wait_for_all
    from vireid.runtime.signals import Interrupted

    work_dir, resume = choose_folder(experiment.name, args.config, args.work_dir, args.resume)
    calibration = None
    try:
        if experiment.refit is not None:
            from vireid.studies.jobs import select  # imports much that other runs do not need

            experiment, calibration = select(experiment, work_dir, warn=warn_once)
        results = launch.prepare(experiment, work_dir, resume=resume, calibration=calibration).train()
    except Interrupted as stopped:
        quiet_others()
        print(f'resume with: {resume_command(experiment, work_dir)}', flush=True)
        wait_for_all()  # a launcher kills the other processes as soon as one has exited
        return stopped.status
    print_result(experiment, results, f'\nwritten to {work_dir}')
    return 0


def _train_splits(args: argparse.Namespace, numbers: list[int], overrides: Overrides, manager: PluginManager) -> int:
    """Trains a model for each split, and prints the mean."""
    from vireid.studies.resumable import run_resumable
    from vireid.studies.splits import make_splits, run_splits

    for flag, given in (('--split', args.data_split), ('--resume', args.resume), ('--init', args.init)):
        if given is not None:
            raise Conflict(
                f'--{"splits" if args.folds is None else "folds"} and {flag} cannot be combined',
                todo='repeat the same command to resume' if flag == '--resume' else 'use only one of them',
            )
    jobs = make_splits(args.config, overrides, manager, numbers, args.work_dir, args.folds)
    base = jobs[0].folder.parent
    launcher = arguments.make_launcher(args, manager, base)
    return run_resumable(lambda: run_splits(jobs, numbers, base, launcher, warn=warn_once))


def _train_stages(args: argparse.Namespace, experiment: Experiment, overrides: Overrides) -> int:
    """Trains the unfinished stages, then the experiment."""
    from vireid.studies.jobs import finish, make_last_stage
    from vireid.studies.resumable import run_resumable

    if args.resume:
        given = f'{args.config} has stages, which --resume FILE does not support'
        raise Conflict(given, todo='repeat the same command to resume')
    folder = args.work_dir or Path('runs') / experiment.name
    job = make_last_stage(experiment, overrides, folder)
    if status := run_resumable(lambda: finish(job, data_may_move=True, warn=warn_once)):
        return status
    print(f'\nwritten to {folder}, with a subfolder per stage')
    return 0
