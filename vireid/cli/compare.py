"""Compare systems: the same budget and seeds for each, and whether one beats another or the difference is noise.

Configs are trained with each seed; the same command goes on where it was stopped. Finished runs are compared as they
are.
"""

from __future__ import annotations

import argparse
import os
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vireid.cli.ablate import DEMO_DATA, draw_people
from vireid.cli.experiment import add_arguments as add_experiment_arguments
from vireid.cli.experiment import make_experiment, make_manager, parse_seeds, quiet_others, read_config, warn_once
from vireid.cli.stages import stages_before
from vireid.cli.startup import importing
from vireid.core.errors import VireidError

if TYPE_CHECKING:
    from vireid.studies.jobs import Job

SMALL = '_base_/systems_small.py'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid compare`."""
    parser.add_argument('systems', nargs='+', metavar='CONFIG|RUN', help='configs, or folders of finished runs')
    parser.add_argument(
        '--on', metavar='FILE', help='a config laid over each one; synth: a small budget, on synthetic people'
    )
    parser.add_argument('--seeds', metavar='0-4', help='or 0,1,2 (default: 0-2)')
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='default: runs/compare')
    parser.add_argument(
        '--allow-differences', action='store_true', help='compare runs of other protocols, data or budgets, and say so'
    )
    add_experiment_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains what is missing and prints the comparison; 130 if Ctrl-C stopped it."""
    with importing():
        from vireid.core.distributed.processes import world
        from vireid.core.signals import Interrupted
        from vireid.studies import comparison_page
        from vireid.studies.comparison_runs import train_and_compare

    if args.seed is not None:
        raise VireidError('--seed names one seed and a comparison takes several', todo=f'write --seeds {args.seed}')
    base = args.work_dir or Path('runs/compare')
    folders = [name for name in args.systems if Path(name).is_dir()]
    seeds = parse_seeds(args.seeds or '0-2')
    if len(folders) == len(args.systems) and (args.on or args.seeds):
        flag = '--on' if args.on else '--seeds'
        raise VireidError(f'{flag} is for configs, and all of these are finished runs', todo=f'take {flag} away')
    missing = next((name for name in args.systems if '::' not in name and not Path(name).exists()), None)
    if missing is not None:
        allowed = 'configs, such as my.py or vireid::tffn_sysu.py, and folders of finished runs'
        raise VireidError(f'there is no {missing}', allowed=allowed)
    given = [Path(name) if name in folders else _jobs(name, seeds, base, args) for name in args.systems]
    quiet_others()

    def draw() -> None:
        jobs = [job for system in given if not isinstance(system, Path) for job in system]
        if args.on == 'synth' and any(Path(job.experiment.dataset['root']) == DEMO_DATA for job in jobs):
            draw_people()

    try:
        comparison = train_and_compare(given, args.allow_differences, draw, warn_once)
    except Interrupted as stopped:
        print('stopped; the same command goes on from here')
        return stopped.status
    print(f'\n{comparison.text()}\n')
    if world()[0] == 0:
        comparison_page.write(comparison, base)
    print(f'written to {base / "comparison.md"} and {base / "comparison.html"}')
    return 0


def stem(config: str) -> str:
    """Returns the name of a config's folder among the runs."""
    return Path(config.rpartition('::')[2]).stem


def _jobs(config_file: str, seeds: list[int], base: Path, args: argparse.Namespace) -> list[Job]:
    """Returns the runs of a config, one for each seed."""
    from vireid.studies.jobs import Job, without_console

    over = [_small(args)] if args.on == 'synth' else [Path(args.on)] if args.on else []
    read = partial(read_config, over=over)
    jobs = []
    for seed in seeds:
        own = copy(args)
        own.config, own.seed = config_file, seed
        if args.on == 'synth' and not args.data_root and not os.environ.get('VIREID_DATA'):
            own.data_root = str(DEMO_DATA)
        config = read(own)
        without_console(config)
        folder, label = base / stem(config_file) / f'seed_{seed}', f'{stem(config_file)} seed {seed}'
        before = stages_before(own, config, folder, label, read)
        jobs.append(Job(label, make_experiment(config, own), folder, before))
    return jobs


def _small(args: argparse.Namespace) -> Path:
    """Returns the small budget among vireid's own configs."""
    return next(Path(folder) / SMALL for folder in make_manager(args).configs['vireid'])
