"""The runs of a comparison: those of configs are trained, finished ones are taken as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vireid.core.errors import VireidError
from vireid.core.wording import counted
from vireid.studies.comparison import Comparison, compare_systems
from vireid.studies.jobs import Job, check_first, finish_for_comparison
from vireid.studies.systems import System, read_systems


def train_and_compare(
    systems: Sequence[Path | Sequence[Job]],
    allow_differences: bool = False,
    before_training: Callable[[], None] = lambda: None,
    warn: Callable[[str], None] = print,
) -> Comparison:
    """Trains what is missing and compares all. What can be known before hours of training is checked before.

    Args:
        systems: a folder of a finished run, or the runs of a config, one for each seed.
        allow_differences: see `compare_systems`.
        before_training: is called once all is checked.
        warn: is called with a line for each damaged checkpoint.

    Raises:
        VireidError: if a run cannot be made, or runs cannot be compared.
        Interrupted: after Ctrl-C, once the checkpoint is written.
    """
    configs = [system for system in systems if not isinstance(system, Path)]
    _check(read_systems([system for system in systems if isinstance(system, Path)]), configs)
    for jobs in configs:
        check_first(jobs)
    before_training()
    for turn in zip(*configs, strict=True):  # seed by seed, so that a first number of each is there early
        for job in turn:
            finish_for_comparison(job, warn)
    folders = [[s] if isinstance(s, Path) else [job.folder for job in s] for s in systems]
    return compare_systems(read_systems([folder for own in folders for folder in own]), allow_differences)


def _check(finished: Sequence[System], configs: Sequence[Sequence[Job]]) -> None:
    """Raises if there is nothing to compare, or if two of the systems could not be."""
    if len(finished) + len(configs) < 2:
        raise VireidError(
            f'{counted(len(finished) + len(configs), "system")} to compare',
            allowed='two or more; seeds of one config are one system',
        )
    folders = [job.folder for jobs in configs for job in jobs]
    twice = next((folder for folder in folders if folders.count(folder) > 1), None)
    if twice is not None:
        raise VireidError(
            f'two configs are called {twice.parent.name}', todo='rename one: runs lie in a folder of that name'
        )
    seeds = {job.experiment.seed for jobs in configs for job in jobs}
    for system in finished:
        if configs and not seeds & set(system.runs):
            raise VireidError(
                f'{system.name} has the seeds {sorted(system.runs)} and the configs get {sorted(seeds)}',
                todo='give the configs seeds that it has',
            )
