"""Compare configs or finished runs, and test which differences are significant.

Configs are trained with each seed; repeat the same command to resume. Finished runs are compared as they are.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vireid.cli.ablate import DEMO_DATA, PEOPLE, generate_people, on_people
from vireid.cli.arguments import (
    add_experiment_arguments,
    add_launcher_arguments,
    make_launcher,
    make_manager,
    overrides_of,
    parse_numbers,
)
from vireid.cli.output import quiet_others
from vireid.core.errors import VireidError

if TYPE_CHECKING:
    from vireid.core.config.overrides import Overrides
    from vireid.plugin_manager.manager import PluginManager
    from vireid.studies.jobs import Job

SMALL = '_base_/systems_small.py'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid compare`."""
    parser.add_argument('systems', nargs='+', metavar='CONFIG|RUN', help='configs, or folders of finished runs')
    parser.add_argument(
        '--on', metavar='FILE', help='a config to apply to each of them; synth: a small budget on synthetic people'
    )
    parser.add_argument('--seeds', metavar='0-4', help='random seeds, a range or a list (default: 0-2)')
    parser.add_argument('--work-dir', type=Path, metavar='DIR', help='output folder (default: runs/compare)')
    parser.add_argument(
        '--allow-differences',
        action='store_true',
        help='also compare runs with different protocols, data or budgets, and note it',
    )
    add_launcher_arguments(parser)
    add_experiment_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains missing runs and prints the comparison; returns the exit status, 130 after Ctrl-C."""
    from vireid.core.distributed.processes import world
    from vireid.core.signals import Interrupted
    from vireid.core.warn import warn_once
    from vireid.studies import comparison_page
    from vireid.studies.comparison_runs import train_and_compare

    if args.seed is not None:
        raise VireidError('--seed sets a single seed, but a comparison needs several', todo=f'use --seeds {args.seed}')
    base = args.work_dir or Path('runs/compare')
    folders = [name for name in args.systems if Path(name).is_dir()]
    seeds = parse_numbers('--seeds', args.seeds or '0-2')
    if len(folders) == len(args.systems) and (args.on or args.seeds):
        flag = '--on' if args.on else '--seeds'
        raise VireidError(f'{flag} applies to configs, but all of these are finished runs', todo=f'remove {flag}')
    missing = next((name for name in args.systems if '::' not in name and not Path(name).exists()), None)
    if missing is not None:
        allowed = 'configs, such as my.py or vireid::tffn_sysu.py, and folders of finished runs'
        raise VireidError(f'{missing} does not exist', allowed=allowed)
    manager, overrides = make_manager(args), overrides_of(args)
    if args.on:
        small = [folder / SMALL for folder in manager.configs['vireid']] if args.on == 'synth' else [Path(args.on)]
        overrides = replace(on_people(overrides) if args.on == 'synth' else overrides, over=small[:1])
    given = [Path(name) if name in folders else _jobs(name, seeds, base, overrides, manager) for name in args.systems]
    launcher = make_launcher(args, manager, base)
    quiet_others()

    def generate() -> None:
        jobs = [job for system in given if not isinstance(system, Path) for job in system]
        if args.on == 'synth' and any(Path(job.experiment.dataset['root']) == DEMO_DATA for job in jobs):
            generate_people(DEMO_DATA, PEOPLE, seed=0)

    try:
        comparison = train_and_compare(given, args.allow_differences, generate, launcher, base, warn_once)
    except Interrupted as stopped:
        print('stopped; repeat the same command to resume')
        return stopped.status
    print(f'\n{comparison.text()}\n')
    if world()[0] == 0:
        comparison_page.write(comparison, base)
    print(f'written to {base / "comparison.md"} and {base / "comparison.html"}')
    return 0


def stem(config: str) -> str:
    """Returns the name of the folder that holds the runs of a config."""
    return Path(config.rpartition('::')[2]).stem


def _jobs(config: str, seeds: list[int], base: Path, overrides: Overrides, manager: PluginManager) -> list[Job]:
    """Returns the runs of a config, one per seed."""
    from vireid.launch.resolve import resolve
    from vireid.studies.jobs import make_job

    jobs = []
    for seed in seeds:
        own = overrides.with_values({'seed': seed})
        folder, label = base / stem(config) / f'seed_{seed}', f'{stem(config)} seed {seed}'
        jobs.append(make_job(resolve(config, own, manager=manager), own, folder, label))
    return jobs
