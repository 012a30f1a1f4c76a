"""One model per split of a dataset, with mean and standard deviation over the models."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vireid.console.number_ranges import parse_numbers
from vireid.console.wording import counted
from vireid.core.config.overrides import Overrides
from vireid.core.registry.manager import Manager
from vireid.core.scoring import results
from vireid.errors import AlreadyExists, Conflict, WrongValue
from vireid.launch.resolve import Source, resolve
from vireid.launch.work_dir import require_own_folder
from vireid.reporting import result_file
from vireid.runtime.processes import world
from vireid.statistics.interval import add_intervals
from vireid.statistics.scores import METRICS, metric_values
from vireid.studies.jobs import Job, check_first, make_job, require_own_images
from vireid.studies.launching import finish_all


def split_numbers(splits: str | None, folds: int | None) -> list[int]:
    """Returns the numbers of the splits of a dataset, such as `1-10`, or of K folds.

    Raises:
        VireidError: for both, neither numbers nor ranges, or a single fold.
    """
    if folds is None:
        return parse_numbers('--splits', splits or '')
    if splits is not None:
        raise Conflict('--folds and --splits cannot be combined', todo='use only one of them')
    if folds < 2:
        raise WrongValue(f'--folds is {folds}', allowed='at least 2, such as 5')
    return parse_numbers('--folds', f'1-{folds}')


def one_split(overrides: Overrides, number: int, folds: int | None) -> Overrides:
    """Returns overrides that choose a split of the dataset or, with `folds`, one of K folds of your own images."""
    if folds is None:
        return overrides.with_values({'dataset.split': number})
    folded = replace(overrides, options=[*overrides.options, f'dataset.folds={folds}'])
    return folded.with_values({'dataset.fold': number})


def make_splits(
    source: Source,
    overrides: Overrides,
    manager: Manager,
    numbers: Sequence[int],
    base: Path | None = None,
    folds: int | None = None,
) -> list[Job]:
    """Returns a run for each split, after checking as much as possible before hours of training.

    Args:
        source: the config.
        overrides: overrides of the config.
        manager: the plugins.
        numbers: the numbers of the splits.
        base: the parent folder of the runs; by default `runs/NAME_splits` or `runs/NAME_folds`.
        folds: number of folds of your own images; None for the splits of a dataset.

    Raises:
        VireidError: if the config is invalid, chooses a split itself, or starts from weights of one of them; if a model
            cannot be built, a split is missing, or the folder holds a single run.
    """
    kind = 'split' if folds is None else 'fold'
    if folds is not None:
        require_own_images(source, overrides, manager, '--folds')
    jobs: list[Job] = []
    for number in numbers:
        own = one_split(overrides, number, folds)
        experiment = resolve(source, own, manager=manager)
        if (chosen := experiment.dataset.get(kind)) != number:
            raise Conflict(
                f'--{kind}s sets dataset.{kind}={number}, but --cfg-options sets {chosen!r}',
                todo=f'remove dataset.{kind} from --cfg-options',
            )
        if experiment.training.init is not None:
            raise Conflict(
                f'training.init is {experiment.training.init!r}, but --{kind}s trains on several splits',
                todo='remove it: the weights were trained on identities that other splits test',
            )
        folder = (base or Path('runs') / f'{experiment.name}_{kind}s') / f'{kind}_{number}'
        jobs.append(make_job(experiment, own, folder, f'{kind} {number}'))
    _check(jobs, jobs[0].folder.parent)
    return jobs


def _check(jobs: Sequence[Job], base: Path) -> None:
    """Raises if `base` holds a single run, a model cannot be built, or a split is missing."""
    if (base / 'checkpoints').exists():
        raise AlreadyExists(f'{base} holds a single run', todo='choose another --work-dir for several runs')
    require_own_folder(base)
    check_first(jobs, data=True)
    for job in jobs:
        job.experiment.build_dataset().split('train')


def run_splits(
    jobs: Sequence[Job],
    numbers: Sequence[int],
    base: Path,
    launcher: Any = None,
    log: Callable[[str], None] = print,
    warn: Callable[[str], None] = print,
) -> None:
    """Trains missing runs, and prints and writes the mean over the models.

    Args:
        jobs: one run per split.
        numbers: the numbers of the splits.
        base: the parent folder of the runs.
        launcher: trains the runs; None trains them one after the other in this process.
        log: called with each line of output.
        warn: called with a line for each damaged checkpoint.

    Raises:
        Interrupted: after Ctrl-C, once the checkpoint is written.
    """
    done = finish_all(jobs, launcher, base, data_may_move=True, log=log, warn=warn)
    rows = _over_models([result['rows'] for result in done])
    queries = _queries([result['queries'] for result in done])
    if queries is not None:
        _add_intervals(rows, queries)
    log(
        f'\n{jobs[0].experiment.name}, {done[0]["data"]}, {done[0]["select"]}; mean ± standard deviation (population) '
        f'over {counted(len(numbers), "model")}, each on its own split:'
    )
    log(results.table(done[0]['protocol'], rows, last='models'))
    content = {
        **{key: done[0].get(key) for key in ('data', 'protocol', 'select', 'precision')},
        'models': list(numbers),
        'rows': rows,
    }
    if world()[0] == 0:
        results.write(base, {**content, 'weights': [result['weights'] for result in done]}, queries)
    log(f'\nwritten to {base / results.FILE}, beside the runs')


def _queries(files: Sequence[Path]) -> dict[str, np.ndarray] | None:
    """Returns the queries of all models with a column `model`; None if a run of an earlier vireid lacks them."""
    if not all(file.is_file() for file in files):
        return None
    loaded = [result_file.read_queries(file) for file in files]
    names = list(loaded[0])
    if len({len(queries) for queries in loaded}) > 1:  # with ties, some have additional columns
        names = [*result_file.COLUMNS, *(name for name in METRICS if name.startswith('R'))]
    whole = [queries | metric_values(queries) for queries in loaded]
    model = np.repeat(np.arange(len(loaded)), [len(queries['row']) for queries in loaded])
    return {'model': model, **{name: np.concatenate([queries[name] for queries in whole]) for name in names}}


def _add_intervals(rows: Sequence[dict[str, Any]], queries: Mapping[str, np.ndarray]) -> None:
    """Adds intervals over the identities of all splits if there are few of them."""
    for number, row in enumerate(rows):
        own = {key: values[queries['row'] == number] for key, values in queries.items()}
        _, part = np.unique(own['model'], return_inverse=True)
        add_intervals(row, metric_values(own), own['identity'], part)


def _over_models(models: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Averages the rows of models; the standard deviation is that of their means (population, as over trials)."""
    rows = []
    for same in zip(*models, strict=True):
        row: dict[str, Any] = {'name': same[0]['name'], 'variant': same[0]['variant'], 'trials': len(same)}
        for key in ('queries', 'valid'):
            row[key] = (min(r[key][0] for r in same), max(r[key][1] for r in same))
        for key in METRICS:
            means = [r[key]['mean'] for r in same]
            row[key] = {'mean': statistics.fmean(means), 'std': statistics.pstdev(means)}
        if tied := [r for r in same if 'tied' in r]:
            row |= {'tied': sum(r['tied'] for r in tied) / len(same), 'ties': tied[0]['ties']}
        rows.append(row)
    return rows
