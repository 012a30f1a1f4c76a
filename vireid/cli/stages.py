"""`vireid train` of a config with `stages`: those are trained before it, and it begins with their weights."""

from __future__ import annotations

import argparse
from copy import copy
from pathlib import Path
from typing import Any

from vireid.cli.experiment import make_experiment, quiet_others, read_config, warn_once
from vireid.core.errors import VireidError


def run_stages(args: argparse.Namespace, config: dict[str, Any]) -> int:
    """Trains what is missing of each stage; the status of a signal if one stopped it.

    Args:
        args: the flags of `vireid train`; they hold for every stage.
        config: the last stage, as `read_config` read it.
    """
    from vireid.core.signals import Interrupted
    from vireid.studies import stages
    from vireid.studies.jobs import Job, without_console

    for flag, given in (('--trials', args.trials), ('--init', args.init), ('--resume FILE', args.resume)):
        if given:
            raise VireidError(
                f'{args.config} has stages, and {flag} does not go with them',
                todo='give the same command again to go on where it stopped' if flag[2] == 'r' else f'leave {flag} out',
            )
    found = [(args, config)]
    for file in _files(config, args.config):
        own = copy(args)
        own.config = file
        found.insert(-1, (own, read_config(own)))
    base = args.work_dir or Path('runs') / str(config['name'])
    jobs = []
    for number, (own, read) in enumerate(found, 1):
        nested = read.get('stages') if own is not args else None
        if nested:
            raise VireidError(f'{own.config} has stages of its own', todo=f'list them in {args.config}, in order')
        without_console(read)
        experiment = make_experiment(read, own)
        jobs.append(Job(f'stage {number}, {experiment.name}', experiment, base / f'{number}_{experiment.name}'))
    quiet_others()
    try:
        stages.run_stages(jobs, warn=warn_once)
    except Interrupted as stopped:
        print('stopped; the same command goes on from here')
        return stopped.status
    return 0


def _files(config: dict[str, Any], path: str) -> list[str]:
    files = config['stages']
    if not isinstance(files, (list, tuple)) or not all(isinstance(file, str) for file in files):
        raise VireidError(f'{path}: stages is {files!r}', allowed="a list of config files: ['features.py']")
    return list(files)
