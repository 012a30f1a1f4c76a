"""Runs a study to its end, or until a signal stops it."""

from __future__ import annotations

from collections.abc import Callable

from vireid.launch.rank_output import quiet_others
from vireid.runtime.signals import Interrupted


def run_resumable(study: Callable[[], object], log: Callable[[str], None] = print) -> int:
    """Runs a study that the same command can resume; only rank 0 prints.

    Args:
        study: the study.
        log: called with a line if it was stopped.

    Returns:
        The exit status; after a signal 128 plus its number.
    """
    quiet_others()
    try:
        study()
    except Interrupted as stopped:
        log('stopped; repeat the same command to resume')
        return stopped.status
    return 0
