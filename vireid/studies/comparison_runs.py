"""Trains the configs of a comparison; finished runs are used as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vireid.console.wording import counted
from vireid.core.config.overrides import Overrides
from vireid.core.registry.manager import Manager
from vireid.errors import Conflict, Mismatch, MissingFile, TooFew
from vireid.launch.resolve import resolve
from vireid.runtime.processes import world
from vireid.studies import comparison_page
from vireid.studies.comparison import Comparison, compare_systems
from vireid.studies.jobs import Job, check_first, make_job, require_scored_as_configured
from vireid.studies.launching import finish_all
from vireid.studies.synthetic_people import DATA, generate_people, on_people
from vireid.studies.systems import System, read_systems

SYNTHETIC, SMALL = 'synth', '_base_/systems_small.py'  # synthetic people, and a small budget on them


def prepare_systems(
    names: Sequence[str],
    seeds: Sequence[int],
    base: Path,
    overrides: Overrides,
    manager: Manager,
    on: str | None = None,
) -> list[Path | list[Job]]:
    """Returns the systems to compare, for `train_and_compare`.

    Args:
        names: configs, and folders of finished runs.
        seeds: random seeds of each config.
        base: the parent folder of the runs.
        overrides: overrides of every config.
        manager: the plugins.
        on: a config to apply to each of them; `synth` is a small budget on synthetic people.

    Raises:
        VireidError: if one does not exist, or a config is invalid.
    """
    missing = next((name for name in names if '::' not in name and not Path(name).exists()), None)
    if missing is not None:
        allowed = 'configs, such as my.py or vireid::tffn_sysu.py, and folders of finished runs'
        raise MissingFile(f'{missing} does not exist', allowed=allowed)
    if on is not None:
        small = [folder / SMALL for folder in manager.configs['vireid']] if on == SYNTHETIC else [Path(on)]
        overrides = replace(on_people(overrides) if on == SYNTHETIC else overrides, over=small[:1])
    return [Path(n) if Path(n).is_dir() else _make_jobs(n, seeds, base, overrides, manager) for n in names]


def _make_jobs(config: str, seeds: Sequence[int], base: Path, overrides: Overrides, manager: Manager) -> list[Job]:
    """Returns the runs of a config, one per seed."""
    jobs, stem = [], Path(config.rpartition('::')[2]).stem
    for seed in seeds:
        own = overrides.with_values({'seed': seed})
        experiment = resolve(config, own, manager=manager)
        jobs.append(make_job(experiment, own, base / stem / f'seed_{seed}', f'{stem} seed {seed}'))
    return jobs


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


def compare_and_write(
    systems: Sequence[Path | Sequence[Job]],
    folder: Path,
    allow_differences: bool = False,
    synthetic: bool = False,
    launcher: Any = None,
    log: Callable[[str], None] = print,
    warn: Callable[[str], None] = print,
) -> None:
    """Trains missing runs, and prints and writes the comparison.

    Args:
        systems: see `train_and_compare`.
        folder: the parent folder of the runs, for `comparison.md` and `comparison.html`.
        allow_differences: see `compare_systems`.
        synthetic: generate the synthetic people if a run is trained on them.
        launcher: see `train_and_compare`.
        log: called with each line of output.
        warn: called with a line for each damaged checkpoint.

    Raises:
        VireidError: if a run fails, or the runs cannot be compared.
        Interrupted: after Ctrl-C, once the checkpoint is written.
    """

    def generate() -> None:
        jobs = [job for system in systems if not isinstance(system, Path) for job in system]
        if synthetic and any(Path(job.experiment.dataset['root']) == DATA for job in jobs):
            generate_people(log=log)

    comparison = train_and_compare(systems, allow_differences, generate, launcher, folder, warn)
    log(f'\n{comparison.text()}\n')
    if world()[0] == 0:
        comparison_page.write(comparison, folder)
    log(f'written to {folder / "comparison.md"} and {folder / "comparison.html"}')


def _check(finished: Sequence[System], configs: Sequence[Sequence[Job]]) -> None:
    """Raises if there are fewer than two systems, or two of them cannot be compared."""
    if len(finished) + len(configs) < 2:
        raise TooFew(
            f'{counted(len(finished) + len(configs), "system")} to compare',
            allowed='two or more; runs of one config with different seeds are one system',
        )
    folders = [job.folder for jobs in configs for job in jobs]
    repeated = next((folder for folder in folders if folders.count(folder) > 1), None)
    if repeated is not None:
        raise Conflict(
            f'two configs are named {repeated.parent.name}',
            todo='rename one of them (the file, or `name` in the config), because it names the run folder',
        )
    seeds = {job.experiment.seed for jobs in configs for job in jobs}
    for system in finished:
        if configs and not seeds & set(system.runs):
            raise Mismatch(
                f'{system.name} has the seeds {sorted(system.runs)}, but the configs use {sorted(seeds)}',
                todo='train the configs with the same seeds',
            )
