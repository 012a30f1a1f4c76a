"""What commands print."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vireid.core.config.experiment import Experiment
    from vireid.core.scoring.results import Results


def quiet_others() -> None:
    """Silences stdout of all processes but the first; each process still prints its own errors."""
    from vireid.core.distributed.processes import world

    if world()[0] > 0 and sys.stdout.name != os.devnull:
        sys.stdout = open(os.devnull, 'w', encoding='utf-8')  # noqa: SIM115, until the process ends


def print_result(experiment: Experiment, results: Results, last: str = '') -> None:
    """Prints the result table and a last line, unless a logger of the experiment prints it."""
    quiet_others()
    if not any(logger['type'] == 'Console' for logger in experiment.loggers):
        print(f'{results.caption()}, in percent:\n{results.table()}\n{last}')
