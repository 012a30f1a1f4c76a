"""`vireid train --trials`: a model for each split of a dataset, and mean and standard deviation over them."""

from __future__ import annotations

import argparse
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from vireid.cli.curve import require_own_images
from vireid.cli.experiment import make_experiment, quiet_others, read_config, warn_once
from vireid.cli.stages import stages_before
from vireid.cli.startup import importing
from vireid.core.errors import VireidError

if TYPE_CHECKING:
    from vireid.studies.jobs import Job

MOST = 1000  # no dataset has as many splits; a typing error has


def parse_trials(text: str) -> list[int]:
    """Reads `1-10` or `1,3,7-9`; each once, in the order given.

    Raises:
        VireidError: for anything else.
    """
    found: list[int] = []
    for part in text.split(','):
        first, dash, last = (word.strip() for word in part.partition('-'))
        words = (first, last) if dash else (first,)
        if not all(w.isascii() and w.isdecimal() and len(w) < 5 and int(w) <= MOST for w in words):
            raise VireidError(f'--trials is {text!r}', allowed='1-10, or 1,3,5')
        numbers = range(int(first), int(words[-1]) + 1)
        if not numbers:
            raise VireidError(f'--trials is {text!r}', allowed='1-10, or 1,3,5')
        found += numbers
    return list(dict.fromkeys(found))


def run_trials(args: argparse.Namespace) -> int:
    """Trains what is missing and prints the mean; 130 if Ctrl-C stopped it."""
    with importing():
        from vireid.core.signals import Interrupted
        from vireid.studies import trials as studies
        from vireid.studies.trials import check_trials

    trials = parse_trials(args.trials)
    for flag, given in (('--trial', args.trial), ('--resume', args.resume), ('--init', args.init)):
        if given is not None:
            raise VireidError(
                f'--trials and {flag} do not go together',
                todo='give the same command again to go on where it stopped' if flag == '--resume' else 'give one',
            )
    jobs = [_job(args, trial) for trial in trials]
    base = jobs[0].folder.parent
    check_trials(jobs, base)
    quiet_others()
    try:
        studies.run_trials(jobs, trials, base, warn=warn_once)
    except Interrupted as stopped:
        print('stopped; the same command goes on from here')
        return stopped.status
    return 0


def _job(args: argparse.Namespace, trial: int) -> Job:
    from vireid.studies.jobs import Job, without_console

    own = copy(args)
    own.trial = trial
    config = read_config(own)
    if args.folds is not None:
        require_own_images(config, own, '--folds')
    if config['dataset'].get('trial') != trial:
        raise VireidError(
            f'--trials wants dataset.trial={trial}, and --cfg-options set it to {config["dataset"].get("trial")!r}',
            todo='take dataset.trial out of --cfg-options',
        )
    without_console(config)
    experiment = make_experiment(config, own)
    base = args.work_dir or Path('runs') / f'{experiment.name}_trials'
    if experiment.training.init is not None:
        raise VireidError(
            f'training.init is {experiment.training.init!r}, and --trials trains on several splits',
            todo='take it away: weights of one split have seen identities that another is tested on',
        )
    label, folder = f'trial {trial}', base / f'trial_{trial}'
    return Job(label, experiment, folder, stages_before(own, config, folder, label))
