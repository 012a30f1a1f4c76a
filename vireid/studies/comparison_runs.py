"""Trains the configs of a comparison; finished runs are used as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vireid.boundary.wording import counted
from vireid.core.errors import VireidError
from vireid.studies.comparison import Comparison, compare_systems
from vireid.studies.jobs import Job, check_first, require_scored_as_configured
from vireid.studies.launching import finish_all
from vireid.studies.systems import System, read_systems


def train_and_compare(
    systems: Sequence[Path | Sequence[Job]],
    allow_differences: bool = False,
    before_training: Callable[[], None] = lambda: None,
    launcher: Any = None,
    folder: Path = Path(),
    warn: Callable[[str], None] = print,
) -> Comparison:
    """Trains missing runs and compares all systems; as much as possible is checked before training.

    Args:
        systems: per system, the folder of a finished run, or the runs of a config with several seeds.
        allow_differences: see `compare_systems`.
        before_training: called after the checks.
        launcher: trains the runs; None trains them one after the other in this process.
        folder: the parent folder of the runs; a launcher may write into it.
        warn: called with a line for each damaged checkpoint.

    Returns:
        The comparison.

    Raises:
        VireidError: if a run fails, or the runs cannot be compared.
        Interrupted: after Ctrl-C, once the checkpoint is written.
    """
    configs = [system for system in systems if not isinstance(system, Path)]
    _check(read_systems([system for system in systems if isinstance(system, Path)]), configs)
    for jobs in configs:
        check_first(jobs)
    before_training()
    turns = [job for turn in zip(*configs, strict=True) for job in turn]  # each system has a first result early
    for job, result in zip(turns, finish_all(turns, launcher, folder, data_may_move=True, warn=warn), strict=True):
        require_scored_as_configured(job, result)
    folders = [[s] if isinstance(s, Path) else [job.folder for job in s] for s in systems]
    return compare_systems(read_systems([folder for own in folders for folder in own]), allow_differences)


def _check(finished: Sequence[System], configs: Sequence[Sequence[Job]]) -> None:
    """Raises if there are fewer than two systems, or two of them cannot be compared."""
    if len(finished) + len(configs) < 2:
        raise VireidError(
            f'{counted(len(finished) + len(configs), "system")} to compare',
            allowed='two or more; runs of one config with different seeds are one system',
        )
    folders = [job.folder for jobs in configs for job in jobs]
    repeated = next((folder for folder in folders if folders.count(folder) > 1), None)
    if repeated is not None:
        raise VireidError(
            f'two configs are named {repeated.parent.name}', todo='rename one of them, because it names the run folder'
        )
    seeds = {job.experiment.seed for jobs in configs for job in jobs}
    for system in finished:
        if configs and not seeds & set(system.runs):
            raise VireidError(
                f'{system.name} has the seeds {sorted(system.runs)}, but the configs use {sorted(seeds)}',
                todo='train the configs with the same seeds',
            )
