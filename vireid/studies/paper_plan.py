"""From the name of a paper to the runs of its tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vireid.console.number_ranges import parse_numbers
from vireid.core.config.overrides import Overrides
from vireid.plugin_manager.manager import PluginManager
from vireid.studies.ablation import Table
from vireid.studies.ablation_rows import choose_names, find_tables
from vireid.studies.reproduction import SPLITS, Plan, find_data, plan


def plan_paper(
    paper: str,
    overrides: Overrides,
    manager: PluginManager,
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
        manager: the plugins, which have the tables.
        base: the folder of all runs.
        seeds: random seeds of each row; None means three, or one for a dataset with splits.
        on: settings of the tables to apply to their rows.
        tables: names of tables, several of them separated by commas; empty means all.
        rows: names of rows, in the same way.

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
