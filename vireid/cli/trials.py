"""`vireid train --trials`: a model for each split of a dataset, and mean and standard deviation over them."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

from vireid.cli.experiment import make_experiment, read_config
from vireid.cli.jobs import Job, finish, try_to_build, without_console
from vireid.core.errors import VireidError
from vireid.core.wording import counted

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
    from vireid.core.distributed.processes import world
    from vireid.core.scoring import results
    from vireid.core.signals import Interrupted

    trials = parse_trials(args.trials)
    for flag, given in (('--trial', args.trial), ('--resume', args.resume), ('--init', args.init)):
        if given is not None:
            raise VireidError(
                f'--trials and {flag} do not go together',
                todo='give the same command again to go on where it stopped' if flag == '--resume' else 'give one',
            )
    jobs = [_job(args, trial) for trial in trials]
    base = jobs[0].folder.parent
    if (base / 'checkpoints').exists():
        raise VireidError(f'{base} holds a single run', todo='choose another --work-dir for a folder of several')
    try_to_build(next((job for job in jobs if not job.begun()), jobs[0]))
    for job in jobs:
        job.experiment.build_dataset().split('train')  # so that a missing split is known before hours of training
    done = []
    try:
        for job in jobs:
            done.append(finish(job, data_may_move=True))
    except Interrupted as stopped:
        print('stopped; the same command goes on from here')
        return stopped.status
    rows = _over_models([found['rows'] for found in done])
    print(
        f'\n{jobs[0].experiment.name}, {done[0]["data"]}, {done[0]["select"]}; mean ± standard deviation (population) '
        f'over {counted(len(trials), "model")}, each on its own split:'
    )
    print(results.table(done[0]['protocol'], rows, last='models'))
    content = {
        **{key: done[0].get(key) for key in ('data', 'protocol', 'select', 'precision')},
        'models': trials,
        'rows': rows,
    }
    if world()[0] == 0:
        results.write(base, {**content, 'weights': [found['weights'] for found in done]})
    print(f'\nwritten to {base / results.FILE}; each run lies beside it')
    return 0


def _job(args: argparse.Namespace, trial: int) -> Job:
    own = copy(args)
    own.trial = trial
    config = read_config(own)
    if config['dataset'].get('trial') != trial:
        raise VireidError(
            f'--trials wants dataset.trial={trial}, and --cfg-options set it to {config["dataset"].get("trial")!r}',
            todo='take dataset.trial out of --cfg-options',
        )
    without_console(config)
    experiment = make_experiment(config, own)
    base = args.work_dir or Path('runs') / f'{experiment.name}_trials'
    return Job(f'trial {trial}', experiment, base / f'trial_{trial}')


def _over_models(found: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Averages the rows of several models; the deviation is that of the models' means (population, as over trials)."""
    from vireid.core.scoring.results import FIGURES

    rows = []
    for same in zip(*found, strict=True):
        row: dict[str, Any] = {'name': same[0]['name'], 'beside': same[0]['beside'], 'trials': len(same)}
        for key in ('queries', 'valid'):
            row[key] = (min(r[key][0] for r in same), max(r[key][1] for r in same))
        for key in FIGURES:
            means = [r[key]['mean'] for r in same]
            row[key] = {'mean': statistics.fmean(means), 'std': statistics.pstdev(means)}
        rows.append(row)
    return rows
