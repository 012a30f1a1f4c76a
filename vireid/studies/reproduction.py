"""Reproduces a paper's tables: trains their rows, scores them by both protocol families, and judges every figure.

A table is that of `vireid.studies.ablation`, and its runs are ordinary jobs. docs/reproduce.md defines the verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vireid.boundary.config_text import read_record
from vireid.boundary.paths import inside
from vireid.boundary.showing import markdown_line
from vireid.boundary.writing import write_whole
from vireid.console.number_ranges import parse_numbers
from vireid.core.config.overrides import Overrides
from vireid.core.config.same_run import READING, changes, named, read_sections
from vireid.core.registry.manager import Manager
from vireid.errors import Mismatch, MissingKey, UnsupportedFile, VireidError
from vireid.exchange.evaluation import score_checkpoint
from vireid.interfaces import Dataset
from vireid.launch.cost import CostEstimate, run_size
from vireid.launch.data_name import is_generated
from vireid.launch.resolve import resolve
from vireid.launch.work import count_work
from vireid.reporting import result_file
from vireid.runtime.processes import world
from vireid.studies.ablation import Row, Table, check_tables, config_key, unique_runs
from vireid.studies.ablation_rows import choose_names, find_tables, make_rows
from vireid.studies.bar import Bar
from vireid.studies.jobs import Job, trains
from vireid.studies.launching import finish_all
from vireid.studies.reproduction_cells import METRICS, Cell, table_markdown, table_text

FAMILIES = {'SYSU-MM01': ('sysu/agw', 'sysu/official'), 'RegDB': ('regdb/agw', 'regdb/official')}
SPLITS = {'RegDB': tuple(range(1, 11))}  # datasets whose published figures are means over splits
SETTINGS = {'RegDB': 'regdb'}  # the settings that a table applies to its rows for a dataset
# settings that do not change what is trained and scored first
HARMLESS = {
    *READING, 'name', 'loggers', 'plugins', 'requires', 'dataset.root', 'evaluation.batch_size',
    *(
        f'training.{name}'
        for name in ('precision', 'accelerator', 'strategy', 'checkpoint_every', 'keep', 'memory_format', 'compile')
    ),
}  # fmt: skip


@dataclass
class Plan:
    """The runs of a paper's tables on one dataset.

    Attributes:
        data: the dataset.
        tables: each table with its runs.
        elsewhere: tables that need another dataset.
        reasons: why figures cannot be compared, by (table folder, row); ('', '') applies to all rows.
    """

    data: str
    tables: list[tuple[Table, list[Row]]]
    elsewhere: list[Table]
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)

    def reason(self, table: Table, row: str) -> str:
        """Returns why the figures of a row cannot be compared; empty if they can."""
        return self.reasons.get(('', ''), '') or self.reasons.get((table.folder.name, row), '')


def plan_paper(
    paper: str,
    overrides: Overrides,
    manager: Manager,
    base: Path,
    seeds: str | None = None,
    on: str | None = None,
    tables: Sequence[str] = (),
    rows: Sequence[str] = (),
) -> Plan:
    """Returns the runs of a paper's tables on the dataset that the overrides name.

    Args:
        paper: its name, or the folder of a table.
        overrides: overrides of every config, with the data folder.
        manager: the plugins, which provide the tables.
        base: the folder of all runs.
        seeds: random seeds of each row; None means three, or one for a dataset with splits.
        on: settings of the tables to apply to their rows.
        tables: names of tables; one text may contain several, separated by commas. Empty means all.
        rows: names of rows, in the same form.

    Raises:
        VireidError: for an unknown name, a folder of other data, or an invalid config.
    """
    places = [place for own in manager.configs.values() for folder in own for place in (folder, folder / 'papers')]
    chosen = sorted(map(Table.read, find_tables(paper, places)), key=lambda table: table.title)
    names = choose_names(tables, [table.folder.name for table in chosen])
    chosen = [table for table in chosen if not names or table.folder.name in names]
    only = choose_names(rows, [row for table in chosen for row in table.rows])
    root = overrides.values.get('dataset.root') or overrides.defaults.get('dataset.root', (None,))[0]
    data = find_data(root, manager)
    numbers = parse_numbers('--seeds', seeds or ('0' if data in SPLITS else '0-2'))
    return plan(chosen, data, overrides, manager, base, numbers, on, only)


def find_data(root: str | None, manager: Manager) -> str:
    """Returns the dataset in a folder.

    Raises:
        VireidError: if the folder contains none that a paper was measured on.
    """
    if root is None:
        raise MissingKey('no data folder was given', todo='set --data-root to the folder of SYSU-MM01 or RegDB')
    errors = []
    for name in FAMILIES:
        try:
            manager.components.build('datasets', {'type': name, 'root': root}, where='dataset')
            return name
        except VireidError as error:
            errors.append(error.given)
    raise UnsupportedFile(
        f'{root} is not a dataset of the papers ({", ".join(FAMILIES)}): {"; ".join(errors)}',
        todo='identify it: vireid data check DIR',
    )


def plan(
    tables: Sequence[Table],
    data: str,
    overrides: Overrides,
    manager: Manager,
    base: Path,
    seeds: Sequence[int],
    on: str | None = None,
    only: Collection[str] = (),
) -> Plan:
    """Returns the runs of the tables that were measured on a dataset.

    Args:
        tables: the tables of a paper.
        data: the dataset in the data folder.
        overrides: overrides of every config.
        manager: the plugins.
        base: the folder of all runs.
        seeds: random seeds of each row; for a dataset with splits, of each split.
        on: settings of the tables to apply to their rows.
        only: names of rows; empty means all.

    Raises:
        VireidError: if no table was measured on this dataset, or a config is invalid.
    """
    here = [table for table in tables if table.data == data]
    if not here:
        needed = ', '.join(dict.fromkeys(table.data for table in tables))
        given = f'the data folder contains {data}, but these tables need {needed}'
        raise Mismatch(given, todo=f'set --data-root to the folder of {needed}')
    parts = []
    reasons = {}
    for table in here:
        rows: list[Row] = []
        for split in SPLITS.get(data, (None,)):
            own = overrides if split is None else overrides.with_values({'dataset.split': split})
            place = base if split is None else base / f'split_{split}'
            jobs = make_rows(table, own, manager, place, seeds, on or SETTINGS.get(data), only)
            rows += jobs if split is None else [replace(job, label=f'{job.label} split {split}') for job in jobs]
        firsts = {job.row: job for job in reversed(rows)}
        fixed = {name for name, job in firsts.items() if not trains(job.experiment)}
        rows = [job for job in rows if job.row not in fixed or job.seed == seeds[0]]  # of HOG, all seeds are alike
        for row in firsts.values():
            if differ := _differences(table, row, overrides, manager, data):
                reasons[table.folder.name, row.row] = f'another {named(differ)}'
        parts.append((table, rows))
    whole = Plan(data, [(table, rows) for table, rows in parts if rows], [t for t in tables if t not in here], reasons)
    experiment = whole.tables[0][1][0].experiment
    if text := _difference_from_published(experiment.build_dataset(), data, experiment.dataset['root']):
        whole.reasons['', ''] = text
    return whole


def _differences(table: Table, row: Row, overrides: Overrides, manager: Manager, data: str) -> dict[str, str]:
    """Returns the settings in which a run differs from the row of the table as it is, as `changes` does."""
    over = [table.settings[SETTINGS[data]]] if data in SETTINGS else []
    plain = Overrides(over=over, plugins=overrides.plugins, trust=overrides.trust)
    values = {'seed': row.seed}
    if data in SPLITS:
        values['dataset.split'] = row.experiment.dataset['split']
    experiment = resolve(str(table.rows[row.row]['config']), plain.with_values(values), manager=manager)
    return changes(experiment, row.experiment, HARMLESS)


def _difference_from_published(dataset: Any, data: str, root: str) -> str:
    """Returns how a dataset differs from the published one: in its people, or in its numbers; empty if it does not."""
    if is_generated(root):
        return 'synthetic people'
    differ = []
    for split, expected in Dataset.expected(dataset).items():
        if split not in ('train', 'test'):
            continue
        samples = dataset.split(split)
        counts = (
            len({sample.identity for sample in samples}),
            *(sum(sample.modality == modality for sample in samples) for modality in ('visible', 'infrared')),
        )
        for what, count, number in zip(('identities', 'visible', 'infrared'), counts, expected, strict=True):
            if number is not None and count != number:
                differ.append(f'{split} has {count:,} {what} instead of {number:,}')
    return f'not the {data} of the paper: {"; ".join(differ)}' if differ else ''


def check(whole: Plan) -> None:
    """Checks one run of each row, and the protocols, before hours of training.

    Raises:
        VireidError: if a run cannot be built, or the data lack what a protocol needs.
    """
    check_tables(whole.tables, data=False)
    for table, jobs in whole.tables:
        for family in FAMILIES[table.data]:
            experiment = _scored_by(jobs[0], family)
            experiment.build_protocol().trials(experiment.build_dataset())


def missing(whole: Plan) -> list[Row]:
    """Returns the runs that are not finished."""
    return [job for job in unique_runs(whole.tables).values() if result_file.read(job.folder) is None]


def estimate_hours(
    jobs: Sequence[Row], devices: Sequence[str], show: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, float]:
    """Returns the estimated hours of all runs together, one after the other, on each device.

    Runs that differ only in their seed or split cost the same. What a started run has already done is not deducted.

    Args:
        jobs: the runs.
        devices: names in `vireid.launch.cost.DEVICES`.
        show: called with (done, total) configs.

    Raises:
        VireidError: if an experiment cannot be priced.
    """
    hours = dict.fromkeys(devices, 0.0)
    alike: dict[Path, list[Row]] = {}
    for job in jobs:
        alike.setdefault(Path(*job.folder.parts[-3:-1]), []).append(job)  # the table and the row
    for done, same in enumerate(alike.values()):
        show(done, len(alike))
        stage: Job | None = same[0]
        while stage is not None:
            work = count_work(stage.experiment, run_size(stage.experiment).identities)
            cost = CostEstimate(stage.experiment, work)
            for device in devices:
                hours[device] += len(same) * cost.on(device).hours
            stage = stage.before
    return hours


def reproduce(
    whole: Plan,
    base: Path,
    launcher: Any = None,
    log: Callable[[str], None] = print,
    warn: Callable[[str], None] = print,
) -> list[Cell]:
    """Trains missing runs, scores all by both protocol families, and prints and writes the figures beside the paper's.

    Args:
        whole: the runs.
        base: their parent folder, for `reproduction.md`.
        launcher: trains the runs; None trains them one after the other in this process.
        log: called with each line of output.
        warn: called with a line for each damaged checkpoint.

    Returns:
        All cells.

    Raises:
        VireidError: if runs failed, or a folder holds a run of another config.
        Interrupted: after Ctrl-C, once the checkpoints are written.
    """
    unique = unique_runs(whole.tables)
    results = finish_all(list(unique.values()), launcher, base, data_may_move=True, log=log, warn=warn)
    trained = dict(zip(unique, results, strict=True))
    scored = {
        (key, family): _score(job, family, trained[key])
        for key, job in unique.items()
        for family in FAMILIES[whole.data]
    }
    parts, cells = [], []
    for table, jobs in whole.tables:
        own = list(_cells(whole, table, jobs, scored))
        cells += own
        log(f'\n{table_text(table, own)}')
        parts.append(table_markdown(table, own))
    for table in whole.elsewhere:
        line = f'{table.title} needs {table.data}: repeat the command with its --data-root'
        log(f'\n{line}')
        parts.append(f'{markdown_line(line)}\n')
    if world()[0] == 0:
        write_whole(base / 'reproduction.md', '\n'.join(parts))
    log(f'\nwritten to {base / "reproduction.md"}, beside the runs')
    return cells


def _scored_by(job: Row, family: str) -> Any:
    """Returns the experiment of a run with the protocol of a family; with its own if that is the one."""
    protocol = job.experiment.protocol
    if protocol['type'] == family:
        return job.experiment
    kept = {key: value for key, value in protocol.items() if key in ('modes', 'trials')}
    return job.experiment.with_overrides({'protocol': {'type': family, **kept}, 'loggers': []})


def _score(job: Row, family: str, trained: dict[str, Any]) -> dict[str, Any]:
    """Scores a finished run by a protocol family, unless it was scored before; returns the result."""
    experiment = _scored_by(job, family)
    if experiment is job.experiment:
        return trained
    folder = job.folder / family.replace('/', '_')
    source = job.weights() if trained.get('steps') else None
    done = result_file.read(folder) if (folder / 'config.yaml').is_file() else None
    if done is not None:
        record = inside(folder, 'config.yaml')
        same = not changes(experiment, read_sections(read_record(record), record), HARMLESS)
        later = source is None or source.stat().st_mtime_ns <= (folder / 'result.json').stat().st_mtime_ns
        if same and later:
            return done
    bar = Bar(f'{job.label}, {family}')
    return score_checkpoint(experiment, source, folder, callbacks=[bar]).to_dict()


def _cells(
    whole: Plan, table: Table, jobs: Sequence[Row], scored: dict[tuple[str, str], dict[str, Any]]
) -> Iterator[Cell]:
    for name, entry in table.rows.items():
        runs = [config_key(job) for job in jobs if job.row == name]
        for metric in METRICS:
            for family in FAMILIES[table.data]:
                if runs and entry[metric] is not None:
                    results = [scored[key, family] for key in runs]
                    reason = whole.reason(table, name)
                    if not any(result.get('steps') for result in results):
                        reason = reason or 'nothing is trained, so runs do not differ'
                    values = tuple(100 * result['rows'][0][metric]['mean'] for result in results)
                    published = float(entry[metric])
                    repeats = len(SPLITS.get(table.data, (1,)))
                    yield Cell(entry['label'], metric, published, family, values, repeats, reason)
