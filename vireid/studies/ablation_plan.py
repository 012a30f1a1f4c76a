"""Everything that ablation tables need: the runs of their rows, the runs that these start from, and the people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireid.core.config.overrides import Overrides
from vireid.core.registry.manager import Manager
from vireid.studies.ablation import Row, Table, check_tables, run_tables
from vireid.studies.ablation_rows import choose_names, find_tables, make_rows, make_starts
from vireid.studies.jobs import Job
from vireid.studies.launching import finish_all
from vireid.studies.synthetic_people import DATA, START_DATA, generate_people, generate_start_people, on_people

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
        run_tables(self.tables, self.base, launcher, label, whole=self.whole, log=log, warn=warn)


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
