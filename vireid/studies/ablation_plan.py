"""Everything that ablation tables need: the runs of their rows, the runs that these start from, and the people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireid.boundary.showing import printable
from vireid.boundary.writing import write_whole
from vireid.core.config.overrides import Overrides
from vireid.core.registry.manager import Manager
from vireid.reporting.record import read_run
from vireid.runtime.processes import world
from vireid.studies import comparison_page
from vireid.studies.ablation import Row, Table, check_tables, config_key, unique_runs
from vireid.studies.ablation_rows import choose_names, find_tables, make_rows, make_starts
from vireid.studies.comparison import Comparison, compare_systems
from vireid.studies.jobs import Job
from vireid.studies.launching import finish_all
from vireid.studies.synthetic_people import DATA, START_DATA, generate_people, generate_start_people, on_people
from vireid.studies.systems import System

SYNTHETIC = 'synth'  # the settings of a table for synthetic people


@dataclass(frozen=True)
class AblationPlan:
    """What to train for ablation tables.

    Attributes:
        base: the parent folder of the tables.
        tables: each table with its runs.
        starts: the runs that rows start from.
        synthetic: whether rows are trained on the synthetic people.
        whole: whether the tables have all rows.
    """

    base: Path
    tables: list[tuple[Table, list[Row]]]
    starts: list[Job]
    synthetic: bool
    whole: bool

    def check(self) -> None:
        """Checks one run of each row, unless they start from weights that do not exist yet.

        Raises:
            VireidError: if a run cannot be built.
        """
        if not self.starts:
            check_tables(self.tables, data=not self.synthetic)

    def run(
        self,
        launcher: Any = None,
        label: str = '',
        log: Callable[[str], None] = print,
        warn: Callable[[str], None] = print,
    ) -> None:
        """Generates the people, trains missing runs, and prints and writes each table.

        Args:
            launcher: trains the runs; None trains them one after the other in this process.
            label: name of the data in the tables; by default its description and folder.
            log: called with each line of output.
            warn: called with a line for each damaged checkpoint.

        Raises:
            VireidError: if runs failed, or a folder holds a run of another config.
            Interrupted: after Ctrl-C, once the checkpoints are written.
        """
        if self.synthetic:
            generate_people(log=log)
        if any(job.experiment.dataset.get('root') == str(START_DATA) for job in self.starts):
            generate_start_people(log)
        if self.starts:  # only then are there weights to check
            finish_all(self.starts, launcher, self.base, log=log, warn=warn)
            check_tables(self.tables, data=not self.synthetic)
        unique = unique_runs(self.tables)
        for _, runs in self.tables:
            for job in runs:
                first = unique[config_key(job)]
                if first is not job:
                    log(f'{job.label}: the same config as {first.folder.parent.parent.name}/{first.row}')
        done = finish_all(list(unique.values()), launcher, self.base, log=log, warn=warn)
        by_key = dict(zip(unique, done, strict=True))
        for table, runs in self.tables:
            self._write(table, runs, {(job.row, job.seed): by_key[config_key(job)] for job in runs}, label, log)

    def _write(
        self,
        table: Table,
        runs: Sequence[Row],
        results: dict[tuple[str, int], dict[str, Any]],
        label: str,
        log: Callable[[str], None],
    ) -> None:
        """Prints a table, and writes it to a file if it is complete."""
        text = table.text(results, label or f'{next(iter(results.values()))["data"]} ({runs[0].data})')
        compared = _compared(table, results)
        if compared is not None:
            text = '\n'.join([text, '', *compared.notes, *compared.claims()])
        log(f'\n{text}\n')
        target = runs[0].folder.parent.parent / 'table.txt'
        target.parent.mkdir(parents=True, exist_ok=True)  # missing if all runs are those of another table
        if not self.whole:
            log(f'the runs are in {target.parent}')
            return
        if world()[0] == 0:
            write_whole(target, f'{printable(text)}\n')
            if compared is not None:
                comparison_page.write(compared, target.parent)
        page = '' if compared is None else f' and {target.parent / "comparison.html"}'
        log(f'written to {target}{page}')


def _compared(table: Table, results: dict[tuple[str, int], dict[str, Any]]) -> Comparison | None:
    """Compares the rows; returns None for a single row."""
    rows: dict[str, System] = {}
    for (row, seed), result in results.items():
        system = rows.setdefault(row, System(table.rows[row]['label'], {}))
        system.runs[seed] = read_run(result['queries'].parent)
    return compare_systems(list(rows.values()), allow_differences=True) if len(rows) > 1 else None


def plan_ablation(
    name: str,
    places: Sequence[Path],
    overrides: Overrides,
    manager: Manager,
    base: Path,
    seeds: Sequence[int],
    settings: str | None = None,
    rows: Sequence[str] = (),
) -> AblationPlan:
    """Returns what to train for the tables of a name.

    Args:
        name: a paper, or the folder of a table.
        places: folders to search for tables.
        overrides: overrides of every config.
        manager: the plugins.
        base: the parent folder of the tables.
        seeds: random seeds of each row.
        settings: settings of the tables to apply to their rows.
        rows: names of rows, several of them separated by commas; empty means all.

    Raises:
        VireidError: if there is no such table, row or settings, or a config is invalid.
    """
    if settings == SYNTHETIC:
        overrides = on_people(overrides)
    tables = [Table.read(folder) for folder in find_tables(name, places)]
    only = choose_names(rows, [row for table in tables for row in table.rows], 'row ')
    starts = {table.folder: make_starts(table, manager, base, only) if settings else {} for table in tables}
    runs = []
    for table in tables:
        weights = {start: job.weights() for start, job in starts[table.folder].items()}
        runs.append((table, make_rows(table, overrides, manager, base, seeds, settings, only, weights)))
    runs = [(table, jobs) for table, jobs in runs if jobs]
    synthetic = settings == SYNTHETIC and any(Path(job.data) == DATA.resolve() for _, jobs in runs for job in jobs)
    return AblationPlan(base, runs, [job for own in starts.values() for job in own.values()], synthetic, not only)
