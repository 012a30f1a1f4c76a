"""`vireid train --trials` and `--folds`: one model per split of a dataset, with mean and standard deviation."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vireid.cli.arguments import make_launcher, parse_numbers
from vireid.cli.output import quiet_others, run_resumable
from vireid.core.errors import VireidError

if TYPE_CHECKING:
    from vireid.core.config.experiment import Experiment
    from vireid.core.config.overrides import Overrides
    from vireid.plugin_manager.manager import PluginManager
    from vireid.studies.jobs import Job


def run_trials(args: argparse.Namespace, overrides: Overrides, manager: PluginManager) -> int:
    """Trains missing runs and prints the mean; returns the exit status."""
    trials, overrides = _trials(args), _with_folds(args, overrides)
    from vireid.core.warn import warn_once
    from vireid.launch.resolve import resolve
    from vireid.studies import trials as studies
    from vireid.studies.jobs import require_own_images

    for flag, given in (('--trial', args.trial), ('--resume', args.resume), ('--init', args.init)):
        if given is not None:
            raise VireidError(
                f'--trials and {flag} cannot be combined',
                todo='repeat the same command to resume' if flag == '--resume' else 'use only one of them',
            )
    if args.folds is not None:
        require_own_images(args.config, overrides, manager, '--folds')
    jobs = []
    for trial in trials:
        own = overrides.with_values({'dataset.trial': trial})
        jobs.append(_job(resolve(args.config, own, manager=manager), own, trial, args.work_dir))
    base = jobs[0].folder.parent
    studies.check_trials(jobs, base)
    launcher = make_launcher(args, manager, base)
    quiet_others()
    return run_resumable(lambda: studies.run_trials(jobs, trials, base, launcher, warn=warn_once))


def first_trial(args: argparse.Namespace, overrides: Overrides) -> Overrides:
    """Returns the overrides of the first of several trials."""
    return _with_folds(args, overrides).with_values({'dataset.trial': _trials(args)[0]})


def _trials(args: argparse.Namespace) -> list[int]:
    if args.folds is None:
        return parse_numbers('--trials', args.trials)
    if args.trials is not None:
        raise VireidError('--folds and --trials cannot be combined', todo='use only one of them')
    if args.folds < 2:
        raise VireidError(f'--folds is {args.folds}', allowed='at least 2, such as 5')
    return parse_numbers('--folds', f'1-{args.folds}')


def _with_folds(args: argparse.Namespace, overrides: Overrides) -> Overrides:
    if args.folds is None:
        return overrides
    return replace(overrides, options=[*overrides.options, f'dataset.folds={args.folds}'])


def _job(experiment: Experiment, overrides: Overrides, trial: int, work_dir: Path | None) -> Job:
    from vireid.studies.jobs import make_job

    if experiment.dataset.get('trial') != trial:
        raise VireidError(
            f'--trials sets dataset.trial={trial}, but --cfg-options sets {experiment.dataset.get("trial")!r}',
            todo='remove dataset.trial from --cfg-options',
        )
    if experiment.training.init is not None:
        raise VireidError(
            f'training.init is {experiment.training.init!r}, but --trials trains on several splits',
            todo='remove it: the weights were trained on identities that other splits test',
        )
    base = work_dir or Path('runs') / f'{experiment.name}_trials'
    return make_job(experiment, overrides, base / f'trial_{trial}', f'trial {trial}')
