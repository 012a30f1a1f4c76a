"""Configs that follow each other: each begins with the weights of the one before it, all of it is one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vireid.core.errors import VireidError
from vireid.studies.jobs import Job, check_job, finish


def run_stages(
    jobs: Sequence[Job], tell: Callable[[str], None] = print, warn: Callable[[str], None] = print
) -> dict[str, Any]:
    """Trains what is missing, stage after stage; a finished stage is passed over, a begun one goes on.

    Args:
        jobs: a run for each stage, in order.
        tell: is called with each line.
        warn: is called with a line for each damaged checkpoint.

    Returns:
        The result of the last stage.

    Raises:
        VireidError: if a stage cannot begin with the weights of the one before it.
        Interrupted: after Ctrl-C, once the checkpoint is written.
    """
    base = jobs[0].folder.parent
    if (base / 'checkpoints').exists():
        raise VireidError(f'{base} holds a single run', todo='choose another --work-dir for a folder of stages')
    for job in jobs:  # before hours of training
        check_job(job)
    result: dict[str, Any] = {}
    before: Job | None = None
    for job in jobs:
        if before is not None:
            training = {**job.experiment.training, 'init': str(_weights(before))}
            job = replace(job, experiment=replace(job.experiment, training=training))
        result = finish(job, data_may_move=True, tell=tell, warn=warn)
        before = job
    tell(f'\nwritten to {jobs[-1].folder}; the stages before it lie beside it')
    return result


def _weights(job: Job) -> Path:
    """Returns the checkpoint that a finished stage ended with."""
    name = 'last' if job.experiment.evaluation_settings.select == 'last' else 'best'
    return (job.folder / 'checkpoints' / f'{name}.pt').absolute()
