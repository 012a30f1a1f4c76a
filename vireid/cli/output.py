"""What commands print and ask."""

from __future__ import annotations

from pathlib import Path
from shlex import join, quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vireid.core.config.experiment import Experiment
    from vireid.core.scoring.results import Results


def run_step(*words: str) -> int:
    """Prints a command of vireid, so that you can repeat it alone, and runs it; returns its exit status."""
    from vireid.cli import main

    print(f'\n$ vireid {join(words)}', flush=True)
    return main(words)


def print_result(experiment: Experiment, results: Results, last: str = '') -> None:
    """Prints the result table and the line `last`, unless the console logger already prints the table."""
    from vireid.launch.rank_output import quiet_others

    quiet_others()
    if not any(logger['type'] == 'Console' for logger in experiment.loggers):
        print(f'{results.caption()}, in percent:\n{results.table()}\n{last}')


def print_next(data: Path) -> None:
    """Prints the commands that follow once the people of some images are named."""
    root = quote(str(data))
    print(f'\nnext: vireid data check {root}\n      vireid train vireid::own_few.py --data-root {root}')
