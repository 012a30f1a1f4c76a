"""Synthetic people for studies without a dataset, generated when they are needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vireid.core.config.overrides import Overrides
from vireid.runtime.processes import wait_for_all, world
from vireid.synth import synthesize

DATA, PEOPLE = Path('data/demo'), 120
START_DATA, START_PEOPLE = Path('data/start'), 240  # other people, for the starts of a table


def on_people(overrides: Overrides) -> Overrides:
    """Returns overrides that use the synthetic people, unless another data folder is given."""
    if overrides.defaults or 'dataset.root' in overrides.values:
        return overrides
    return overrides.with_values({'dataset.root': str(DATA)})


def generate_people(
    folder: Path = DATA, people: int = PEOPLE, seed: int = 0, log: Callable[[str], None] = print
) -> None:
    """Generates synthetic people if they do not exist yet; only rank 0 does.

    Args:
        folder: the folder of their images.
        people: number of people.
        seed: random seed.
        log: called with a line about them.

    Raises:
        VireidError: if the folder contains something else.
    """
    if world()[0] == 0:
        summary = synthesize(folder, layout='sysu', ids=people, seed=seed)
        log(f'{summary.ids} synthetic people in {summary.folder}')
    wait_for_all()


def generate_start_people(log: Callable[[str], None] = print) -> None:
    """Generates the people for the starts of a table, in the same way."""
    generate_people(START_DATA, START_PEOPLE, 1, log)
