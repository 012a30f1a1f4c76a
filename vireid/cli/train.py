"""Train and evaluate the model of a config.

Exit status: 0; 2 for an error that you can fix; 128 plus the signal number after a signal, once a checkpoint
is saved: 130 for Ctrl-C, 143 for SIGTERM, 138 for SIGUSR1, 129 for SIGHUP (closed terminal).
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vireid.cli.arguments import (
    add_experiment_arguments,
    add_folder_argument,
    add_launcher_arguments,
    make_manager,
    overrides_of,
)
from vireid.cli.output import print_result, quiet_others, run_resumable
from vireid.cli.places import choose_place
from vireid.core.errors import VireidError

if TYPE_CHECKING:
    from vireid.core.config.experiment import Experiment
    from vireid.core.config.overrides import Overrides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid train`."""
    parser.add_argument('config', help='a config file, such as vireid::tffn_sysu.py')
    group = add_experiment_arguments(parser)
    add_folder_argument(group, 'runs/CONFIG')
    group.add_argument(
        '--resume',
        nargs='?',
        const='',
        metavar='FILE',
        help='resume from a checkpoint (default: the newest one of this run)',
    )
    group.add_argument(
        '--init', type=Path, metavar='FILE', help='initialize the weights from the checkpoint of another run'
    )
    group.add_argument(
        '--partial', action='store_true', help='with --init, load only matching weights and report the coverage'
    )
    group.add_argument(
        '--trials',
        metavar='1-10',
        help='train a model on each of these splits (RegDB) and report the mean; resumes automatically',
    )
    group.add_argument(
        '--folds', type=int, metavar='K', help='K-fold cross-validation on your own images; resumes automatically'
    )
    add_launcher_arguments(parser)
    parser.add_argument(
        '--dry-run', action='store_true', help='try one step and one evaluation on random images, without the data'
    )
    parser.add_argument(
        '--graph', action='store_true', help='like --dry-run, and print the model graph as Mermaid text'
    )
    parser.add_argument('--print-config', action='store_true', help='print the resolved config and stop')


def run(args: argparse.Namespace) -> int:
    """Trains and evaluates; the docstring of the module lists the exit statuses."""
    overrides, manager = overrides_of(args), make_manager(args)
    dry = args.dry_run or args.graph
    if args.folds is not None or args.trials is not None:
        from vireid.cli.trials import first_trial, run_trials

        if not (dry or args.print_config):
            return run_trials(args, overrides, manager)
        overrides = first_trial(args, overrides)  # the others differ only in their split
    elif args.jobs is not None or args.launcher:
        raise VireidError(
            f'{"--launcher" if args.launcher else "--jobs"} runs several runs at once, but this is a single one',
            todo='remove it, or add --trials 1-10 or --folds 5; to use several GPUs for one run: --devices N',
        )
    if args.print_config:
        from vireid.core.config.files import dump
        from vireid.launch.resolve import read

        print(dump(read(args.config, overrides, manager).sections), end='')
        return 0
    from vireid.launch.resolve import resolve

    experiment = resolve(args.config, overrides, manager=manager)
    if args.partial and args.init is None:
        raise VireidError('--partial applies to --init, which is missing', todo='add --init FILE')
    if args.init and args.resume is not None:
        raise VireidError('--init starts a new run, but --resume continues one', todo='use only one of them')
    if dry:
        from vireid.diagnostics.dry_run import dry_run

        if args.init:
            experiment = experiment.with_overrides({'training.init': str(args.init)})
        print(dry_run(experiment, graph=args.graph))
        return 0
    if experiment.stages:
        return _train_stages(experiment, overrides, args)
    work_dir, resume = choose_place(args, experiment.name)
    from vireid.core.distributed.processes import wait_for_all
    from vireid.core.signals import Interrupted
    from vireid.launch import launch
    from vireid.launch.reach import reaching

    try:
        results = launch.prepare(experiment, work_dir, resume=resume, init=args.init, partial=args.partial).train()
    except Interrupted as stopped:
        again = ['vireid', 'train', str(work_dir / 'config.yaml'), '--work-dir', str(work_dir), '--resume']
        again += [word for file in experiment.plugins for word in ('--plugin', file)]
        again += ['--trust-config'] if reaching(experiment.to_config(), experiment.manager) else []
        quiet_others()
        print(f'resume with: {shlex.join(again)}', flush=True)
        wait_for_all()  # a launcher kills the other processes as soon as one has exited
        return stopped.status
    print_result(experiment, results, f'\nwritten to {work_dir}')
    return 0


def _train_stages(experiment: Experiment, overrides: Overrides, args: argparse.Namespace) -> int:
    """Trains the unfinished stages, then the experiment."""
    from vireid.core.warn import warn_once
    from vireid.studies.jobs import check_job, finish, make_job

    for flag, given in (('--init', args.init), ('--partial', args.partial), ('--resume FILE', args.resume)):
        if given:
            raise VireidError(
                f'{args.config} has stages, which {flag} does not support',
                todo='repeat the same command to resume' if flag.startswith('--resume') else f'remove {flag}',
            )
    folder = args.work_dir or Path('runs') / experiment.name
    job = make_job(experiment, overrides, folder, experiment.name)
    job = replace(job, label=f'{job.label}, last stage')
    check_job(job)
    quiet_others()
    if status := run_resumable(lambda: finish(job, data_may_move=True, warn=warn_once)):
        return status
    print(f'\nwritten to {folder}, with a subfolder per stage')
    return 0
