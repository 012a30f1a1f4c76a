"""Configs with `stages`: those are trained before it, in folders inside its own, and it begins with their weights."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vireid.cli.experiment import make_experiment, quiet_others, read_config, warn_once
from vireid.core.errors import VireidError

if TYPE_CHECKING:
    from vireid.studies.jobs import Job


def stages_before(
    args: argparse.Namespace,
    config: dict[str, Any],
    folder: Path,
    label: str,
    read: Callable[[argparse.Namespace], dict[str, Any]] = read_config,
) -> Job | None:
    """Returns the run that a config with stages begins with, which knows the one before it; None without stages.

    Args:
        args: the flags; they hold for every stage.
        config: what is trained last.
        folder: where that is written.
        label: what the lines about it begin with.
        read: reads a stage's config.
    """
    from vireid.studies.jobs import Job, without_console

    before: Job | None = None
    files = config.get('stages', [])
    if not isinstance(files, (list, tuple)) or not all(isinstance(file, str) for file in files):
        raise VireidError(f'{args.config}: stages is {files!r}', allowed="a list of config files: ['features.py']")
    for number, file in enumerate(files, 1):
        own = copy(args)
        own.config = file
        found = read(own)
        if found.get('stages'):
            raise VireidError(f'{file} has stages of its own', todo=f'list them in {args.config}, in order')
        if before is not None and isinstance(found.get('training'), dict) and found['training'].get('init'):
            raise VireidError(f'{file} names training.init, and it begins with the stage before', todo='take it away')
        without_console(found)
        experiment = make_experiment(found, own)
        place = folder / f'stage{number}_{experiment.name}'
        before = Job(f'{label}, stage {number}, {experiment.name}', experiment, place, before)
    return before


def train_stages(args: argparse.Namespace, config: dict[str, Any]) -> int:
    """Trains what is missing of each stage; returns the exit status.

    Args:
        args: the flags of `vireid train`.
        config: the last stage, as `read_config` read it.
    """
    from vireid.core.signals import Interrupted
    from vireid.studies.jobs import Job, check_job, finish, without_console

    for flag, given in (('--init', args.init), ('--partial', args.partial), ('--resume FILE', args.resume)):
        if given:
            raise VireidError(
                f'{args.config} has stages, and {flag} does not go with them',
                todo='give the same command again to go on where it stopped' if flag[2] == 'r' else f'leave {flag} out',
            )
    folder = args.work_dir or Path('runs') / str(config['name'])
    before = stages_before(args, config, folder, str(config['name']))
    without_console(config)
    experiment = make_experiment(config, args)
    job = Job(f'{experiment.name}, last stage', experiment, folder, before)
    check_job(job)
    quiet_others()
    try:
        finish(job, data_may_move=True, warn=warn_once)
    except Interrupted as stopped:
        print('stopped; the same command goes on from here')
        return stopped.status
    print(f'\nwritten to {folder}; the stages before it lie inside')
    return 0
