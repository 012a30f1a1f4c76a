"""Systems: finished runs of one config with several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary.config_text import dump
from vireid.boundary.paths import inside
from vireid.core.scoring.results import QUERIES
from vireid.errors import Mismatch, MissingFile, NotReady, UnsupportedFile, WrongValue
from vireid.reporting import result_file
from vireid.reporting.config_differences import differences
from vireid.reporting.record import RunRecord, read_run

OWN = ('name', 'seed', 'loggers', 'plugins')  # keys in which runs of one system may differ


@dataclass
class System:
    """Finished runs of one config, by seed."""

    name: str
    runs: dict[int, RunRecord]

    def values(self, column: str, seeds: Sequence[int]) -> list[float]:
        """Returns a metric of the first row, as a fraction, for each seed."""
        return [self.runs[seed].rows[0][column]['mean'] for seed in seeds]

    @property
    def first(self) -> RunRecord:
        """Any one of its runs."""
        return next(iter(self.runs.values()))


def read_systems(folders: Sequence[str | Path], queries: bool = True) -> list[System]:
    """Reads finished runs and groups those whose configs differ only in the seed.

    Args:
        folders: folders of the runs.
        queries: require the metrics of their queries.

    Returns:
        The systems, in the order of their first run.

    Raises:
        VireidError: for a folder without a finished run or the required metrics, or two runs with the same seed.
    """
    systems: dict[str, System] = {}
    for folder in folders:
        run = read_run(folder)
        if run.result is None:
            raise NotReady(f'{folder} is not finished', todo='resume it first: vireid train ... --resume')
        if queries and 'models' in run.result:
            raise UnsupportedFile(
                f'{folder} holds several runs on different splits',
                allowed='single runs, such as its subfolders; vireid table reports their mean',
            )
        if queries and not (run.folder / QUERIES).is_file():
            raise MissingFile(
                f'{folder} has no {QUERIES}, the metrics of its queries',
                todo='run vireid test CONFIG CHECKPOINT --work-dir DIR, and use DIR',
            )
        seed = run.config.get('seed', 0)
        if type(seed) is not int:
            raise WrongValue(f'{folder}/config.yaml: seed is {seed!r}', allowed='an integer')
        key = dump(without_own(run.config, run.folder)) if run.config else str(folder)
        system = systems.setdefault(key, System(run.label, {}))
        if seed in system.runs:
            raise Mismatch(
                f'{folder} and {system.runs[seed].folder} are the same config with the same seed',
                todo='use runs with different seeds or different configs',
            )
        system.runs[seed] = run
    names = [system.name for system in systems.values()]
    for system in systems.values():
        if names.count(system.name) > 1:
            system.name = f'{system.name} ({system.first.folder})'
    return list(systems.values())


def read_system(folders: Sequence[str | Path]) -> System:
    """Reads finished runs of one config.

    Raises:
        VireidError: as `read_systems`, or if their configs differ.
    """
    systems = read_systems(folders)
    if len(systems) > 1:
        configs = [without_own(system.first.config, system.first.folder) for system in systems[:2]]
        keys = ', '.join('.'.join(map(str, path)) for path in list(differences(configs))[:5])
        raise Mismatch(
            f'{systems[0].first.folder} and {systems[1].first.folder} have different configs: {keys}',
            allowed='runs that differ only in their seed',
            todo='publish each config on its own',
        )
    return systems[0]


def without_own(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns the config of the run in `folder` without the keys in which runs of one system may differ."""
    kept = {key: value for key, value in config.items() if key not in OWN}
    if isinstance(kept.get('dataset'), dict):
        kept['dataset'] = {key: value for key, value in kept['dataset'].items() if key != 'root'}
    training = kept.get('training')
    if isinstance(training, dict) and isinstance(training.get('init'), str):
        parts = Path(training['init']).parts
        if len(parts) > 3 and parts[-4] == folder.name and parts[-3].startswith('stage'):  # a stage of the run itself
            kept['training'] = {**training, 'init': '/'.join(parts[-3:])}
    return kept


def read_queries(run: RunRecord) -> dict[str, np.ndarray]:
    """Returns the query metrics of the first row of a run: `identity`, `trial`, `ahead`, `ap`, `inp`.

    If ties make some of them means, also `R1`, `R5`, `R10` and `R20`. `read_run` has checked the file against the
    result.

    Raises:
        VireidError: if the file is damaged.
    """
    queries = result_file.read_queries(inside(run.folder, QUERIES))
    return {name: column[queries['row'] == 0] for name, column in queries.items() if name != 'row'}


def find_differences(systems: Sequence[System]) -> list[str]:
    """Returns what prevents a comparison of runs, such as `steps 40 and 60`; empty if nothing does."""
    runs = [_terms(run) for system in systems for run in system.runs.values()]
    lines = []
    for name in runs[0]:
        values = [value for value in dict.fromkeys(run[name] for run in runs) if value]
        if len(values) > 1:
            lines.append(f'{name} {" and ".join(values)}')
    return lines


def _terms(run: RunRecord) -> dict[str, str]:
    """Returns what comparable runs have in common; a value is empty if a later evaluation does not record it."""
    result = run.result or {}
    return {
        'protocol': f'{run.protocol}, {run.rows[0]["name"]}',
        'data': str(result.get('data', '')),
        'split': str(result.get('split', '') or 'the only split'),
        'training identities': str(result.get('identities', '')),
        'steps': str(result.get('steps', '')),
        'choice of weights': str(result.get('select', '')),
    }
