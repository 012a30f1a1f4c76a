"""Resuming a run with another number of processes: which batches stay the same, and what does not."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from vireid.console.wording import counted
from vireid.core.config.same_run import read_sections
from vireid.core.training.run import Run
from vireid.errors import Changed
from vireid.interfaces import Sampler
from vireid.runtime.processes import world

MAX_PROCESSES = 4096  # processes; a damaged checkpoint may name any number


def for_this_world_size(run: Run, content: dict[str, Any], source: str) -> dict[str, Any]:
    """Converts a checkpoint to the number of processes of this run; warns about what changes.

    The processes together have to train on the same images in each step, in the same order.

    Args:
        run: the run that resumes.
        content: the checkpoint; returned as it is if its number of processes is that of this run.
        source: its name in messages.

    Raises:
        Changed: if the batches would differ.
    """
    size, before = world()[1], content.get('processes', 0)
    if before == size or not 1 <= before <= MAX_PROCESSES or content.get('split', '') != run.split:  # checked later
        return content
    given = f'{source} was trained with {counted(before, "process", "processes")}, but this run has {size}'
    theirs = read_sections(content['config'], source).sampler
    at = content['progress']
    epoch = at['step'] // max(1, at['steps_per_epoch'])
    drawn = _samplers(run, theirs, before), _samplers(run, run.experiment.sampler, size)
    if _batches(run, drawn[0], epoch) != _batches(run, drawn[1], epoch):
        kept = _same_batches(drawn[0], size, theirs, run.experiment.sampler)
        raise Changed(
            f'{given}, and with its sampler the batches would differ',
            todo=f'{kept}resume with {counted(before, "process", "processes")}, or start a new run from its weights: '
            f'--init {source}',
            path='training.devices',
        )
    if world()[0] == 0:
        print(f'warning: {given}. {_changes(run)}', file=sys.stderr)
    return {
        **content,
        'processes': size,
        'config': {**content['config'], 'sampler': run.experiment.to_config()['sampler']},
    }


def _samplers(run: Run, config: Mapping[str, Any], size: int) -> list[Sampler]:
    """Returns the sampler of each process of a run."""
    experiment = run.experiment.with_overrides({'sampler': config})
    return [experiment.build_sampler(run.samples, rank, size) for rank in range(size)]


def _batches(run: Run, samplers: Sequence[Sampler], epoch: int) -> list[dict[str, list[int]]]:
    """Returns the images of each step of all processes together, by modality and process."""
    sizes = []
    for batches in zip(*(sampler.batches(epoch) for sampler in samplers), strict=True):
        whole: dict[str, list[int]] = {}
        for index in (index for batch in batches for index in batch):
            whole.setdefault(run.samples[index].modality, []).append(index)
        sizes.append(whole)
    return sizes


def _same_batches(samplers: Sequence[Any], size: int, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Returns how to draw the same batches with another number of processes, for samplers that count identities.

    Args:
        samplers: those of the checkpoint.
        size: the other number.
        theirs: their config.
        ours: the config of the run.
    """
    identities = Sampler.identities(samplers[0])
    if identities is None:
        return ''
    whole = identities * len(samplers)
    if whole % size:
        return f'use a number of processes that divides the {whole} identities of a batch, '
    settings = {'identities': whole // size} | {
        key: value for key, value in theirs.items() if key != 'identities' and ours.get(key) != value
    }
    words = ' '.join(f'sampler.{key}={value}' for key, value in settings.items())
    return f'keep the batches: --cfg-options {words}; or '


def _changes(run: Run) -> str:
    """Describes what differs from an uninterrupted run, although the batches are the same."""
    kept = 'Each step still trains on the same images in the same order'
    changed = ['dropout and other random numbers of the network', 'rounding']
    if not run.experiment.losses.across_ranks:
        changed.append('losses that compare images, which see those of one process (losses.across_ranks is False)')
    if not run.experiment.training.sync_batchnorm:
        changed.append('BatchNorm, which sees the images of one process (training.sync_batchnorm is False)')
    return f'{kept}, but these differ: {"; ".join(changed)}'
