"""Train what a config describes, and score it.

Exit status: 0, 2 for an error the user can fix, 128 and the signal's number if one stopped it after
saving: 130 for Ctrl-C, 143 for SIGTERM, 138 for SIGUSR1, 129 for SIGHUP, a closed terminal.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from vireid.cli.experiment import add_arguments as add_experiment_arguments
from vireid.cli.experiment import make_experiment, prepare, print_result, quiet_others, read_config
from vireid.cli.places import choose_place
from vireid.core.errors import VireidError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid train`."""
    parser.add_argument('config', help='a config file, such as configs/tffn_sysu.py')
    add_experiment_arguments(parser)
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='where the run is written (default: runs/CONFIG)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='',
        metavar='FILE',
        help='go on from a checkpoint; without FILE, from the newest one of this run',
    )
    parser.add_argument('--init', type=Path, metavar='FILE', help='begin with the weights of another run')
    parser.add_argument('--partial', action='store_true', help='of --init, take what fits, and say how much it is')
    parser.add_argument(
        '--trials', metavar='1-10', help='a model for each of these splits (RegDB), and their mean; goes on by itself'
    )
    parser.add_argument(
        '--folds', type=int, metavar='K', help="of one's own images: K models, each tested on people it has not seen"
    )
    parser.add_argument('--dry-run', action='store_true', help='try a step and an evaluation, without the data')
    parser.add_argument('--graph', action='store_true', help='as --dry-run, and print the graph as Mermaid text')
    parser.add_argument('--print-config', action='store_true', help='print the resolved config and stop')


def run(args: argparse.Namespace) -> int:
    """Trains; see the module's docstring for the exit status."""
    if args.folds is not None:
        if args.trials is not None:
            raise VireidError('--folds and --trials do not go together', todo='give one')
        if args.folds < 2:
            raise VireidError(f'--folds is {args.folds}', allowed='2 or more, such as 5')
        args.trials = f'1-{args.folds}'
        args.cfg_options = [*args.cfg_options, f'dataset.folds={args.folds}']
    if args.trials is not None:
        from vireid.cli.trials import parse_trials, run_trials

        if not (args.dry_run or args.graph or args.print_config):
            return run_trials(args)
        args.trial = parse_trials(args.trials)[0]  # all are alike but for this
    config = read_config(args)
    if args.print_config:
        from vireid.core.config.files import dump

        prepare(config, args)
        print(dump(config), end='')
        return 0
    if config.get('stages') and not (args.dry_run or args.graph):
        from vireid.cli.stages import train_stages

        return train_stages(args, config)
    experiment = make_experiment(config, args)
    if args.partial and args.init is None:
        raise VireidError('--partial says how --init is read, and there is no --init', todo='give --init FILE')
    if args.init and args.resume is not None:
        raise VireidError('--init begins a run and --resume goes on with one', todo='give one of them')
    if args.dry_run or args.graph:
        from vireid.diagnostics.dry_run import dry_run

        print(dry_run(experiment, graph=args.graph))
        return 0
    work_dir, resume = choose_place(args, experiment.name)
    from vireid.boundary.received import reaching
    from vireid.core.distributed.processes import wait_for_all
    from vireid.core.signals import Interrupted
    from vireid.launch import launch

    try:
        found = launch.prepare(experiment, work_dir, resume=resume, init=args.init, partial=args.partial).train()
    except Interrupted as stopped:
        again = ['vireid', 'train', str(work_dir / 'config.yaml'), '--work-dir', str(work_dir), '--resume']
        again += [word for file in experiment.plugins for word in ('--plugin', file)]
        again += ['--trust-config'] if reaching(experiment.to_config(), experiment.manager) else []
        quiet_others()
        print(f'go on with: {shlex.join(again)}', flush=True)
        wait_for_all()  # a launcher ends the others as soon as one has left
        return stopped.status
    print_result(experiment, found, f'\nwritten to {work_dir}')
    return 0
