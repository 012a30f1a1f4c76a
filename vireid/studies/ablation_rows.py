"""Finds ablation tables, and creates the runs of their rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vireid.core.config.overrides import Overrides
from vireid.core.registry.manager import Manager
from vireid.errors import MissingFile, UnknownName, did_you_mean
from vireid.launch.resolve import resolve
from vireid.studies.ablation import Row, Table
from vireid.studies.jobs import Job, make_job


def find_tables(name: str, places: Sequence[Path]) -> list[Path]:
    """Returns the folders of tables: `name` if it is one, else those in `places` called `name` or `name_table*`.

    Raises:
        UnknownName: if there is none.
    """
    if (Path(name) / 'table.yaml').is_file():
        return [Path(name)]
    tables = [path.parent for place in places for path in sorted(place.glob('*/table.yaml'))]
    matching = [folder for folder in tables if folder.name == name or folder.name.startswith(f'{name}_table')]
    if not matching:
        raise UnknownName(
            f'no table {name!r} in {", ".join(map(str, places))}',
            allowed=', '.join(folder.name for folder in tables) or 'a folder with a table.yaml',
            todo='give one of these, a paper (tffn or dmcf), or a folder with a table.yaml',
        )
    return matching


def read_literature(folder: Path | None) -> dict[str, Any]:
    """Returns the published numbers of a table, as arguments of `make_table`; none without a folder.

    Raises:
        MissingFile: if the folder has no table.
    """
    if folder is None:
        return {}
    if not (folder / 'table.yaml').is_file():
        raise MissingFile(f'{folder} has no table.yaml', allowed='a folder such as configs/tffn_table3')
    table = Table.read(folder)
    return {'literature': table.rows, 'source': table.paper}


def choose_names(words: Sequence[str], known: Sequence[str], what: str = '') -> list[str]:
    """Returns names of tables or rows.

    Args:
        words: one name or several, separated by commas.
        known: the names that there are.
        what: a word before a name, for the error.

    Raises:
        UnknownName: for an unknown name.
    """
    chosen = [name for word in words for name in word.split(',') if name]
    for name in chosen:
        if name not in known:
            raise UnknownName(f'no {what}{name!r}{did_you_mean(name, known)}', allowed=', '.join(dict.fromkeys(known)))
    return chosen


def make_starts(table: Table, manager: Manager, base: Path, only: Collection[str] | None = None) -> dict[str, Job]:
    """Returns the run of each start that the rows of a table use.

    Args:
        table: the table.
        manager: the plugins.
        base: the folder of all tables.
        only: names of rows; None or empty means all.

    Raises:
        VireidError: if a config is invalid.
    """
    used = dict.fromkeys(entry['start'] for row, entry in table.rows.items() if not only or row in only)
    jobs = {}
    for name in used:
        if name is not None:
            experiment = resolve(str(table.starts[name]['config']), manager=manager)
            folder = base / table.folder.name / 'starts' / name
            jobs[name] = make_job(experiment, Overrides(), folder, f'start {name}')
    return jobs


def make_rows(
    table: Table,
    overrides: Overrides,
    manager: Manager,
    base: Path,
    seeds: Sequence[int],
    settings: str | None = None,
    only: Collection[str] | None = None,
    starts: Mapping[str, Path] | None = None,
) -> list[Row]:
    """Returns every run of a table, seed by seed, so that each row has a first result early.

    Args:
        table: the table.
        overrides: overrides of every config.
        manager: the plugins.
        base: the folder of all tables.
        seeds: random seeds of each row.
        settings: name of the settings of the table to apply to its rows.
        only: names of rows; None or empty means all.
        starts: checkpoints of the starts of the table, by name.

    Raises:
        VireidError: if the table has no such settings, or a config is invalid.
    """
    if settings is not None and settings not in table.settings:
        raise UnknownName(
            f'--on {settings}: {table.folder / "table.yaml"} has no settings of this name'
            f'{did_you_mean(settings, table.settings)}',
            allowed=', '.join(table.settings) + ', or no --on for the configs as they are',
        )
    rows: list[Row] = []
    for seed in seeds:
        for row, entry in table.rows.items():
            if only and row not in only:
                continue
            over = [entry['settings'].get(settings, table.settings[settings])] if settings else []
            own = replace(overrides, over=over).with_values({'seed': seed})
            if start := (starts or {}).get(entry['start'] or ''):
                key = table.starts[entry['start']]['key']
                partial = {'training.init_partial': True} if key == 'training.init' else {}
                own = own.with_values({key: str(start), **partial})
            experiment = resolve(str(entry['config']), own, manager=manager)
            data = ''
            if root := experiment.dataset.get('root'):  # the same folder under any path is the same run
                data = str(Path(root).expanduser().resolve())
                experiment = experiment.with_overrides({'dataset.root': data})
            folder = base / table.folder.name / row / f'seed_{seed}'
            job = make_job(experiment, own, folder, f'{row} seed {seed}')
            rows.append(Row(**vars(job), row=row, seed=seed, data=data))
    return rows
