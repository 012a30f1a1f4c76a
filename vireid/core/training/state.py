"""The state of a run: what a checkpoint contains, and what must match to resume from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vireid import __version__
from vireid.console.wording import counted
from vireid.core.config.same_run import changes, named, read_sections, resumable
from vireid.core.training.run import Run
from vireid.core.types import Progress
from vireid.errors import Changed, Mismatch, NotFinite, UnsupportedFile, VireidError
from vireid.interfaces import Step
from vireid.runtime.processes import gather_objects, world


def state_of(run: Run, progress: Progress) -> dict[str, Any]:
    """Returns a run's weights, config, data fingerprints and progress, as tensors and plain values."""
    return {
        'model': run.model.state_dict(),
        'progress': {'step': progress.step, 'steps_per_epoch': progress.steps_per_epoch},
        'processes': world()[1],
        'config': run.experiment.to_config(),
        'num_identities': len({s.identity for s in run.samples}),
        'identities': list(run.identities),
        'data': run.data,
        'precision_reason': run.precision_reason,
        'split': run.split,
        'trained_on': torch.from_numpy(np.unique(np.concatenate([run.fingerprint, run.contents, run.seen]))),
        'images_digest': run.images_digest,
        'unreadable': list(run.unreadable),
        'skipped': list(run.skipped),
        'fitted_step': run.fitted_step,
        'calibration': run.calibration,
        'versions': versions(),
    }


def require_numbers(run: Run, weights: dict[str, torch.Tensor], progress: Progress) -> None:
    """Checks that a run can be resumed from these weights.

    Args:
        run: the run.
        weights: the state dict of its model.
        progress: its position.

    Raises:
        NotFinite: if a parameter is not finite or a buffer is NaN.
    """
    names = {name for name, _ in run.model.named_parameters()}
    problem = ''
    for name, value in weights.items():
        wrong = ~torch.isfinite(value) if name in names else torch.isnan(value)
        if not problem and wrong.any():
            problem = f'{name} contains {value[wrong].flatten()[0].item()}'
    problem = next(filter(None, gather_objects(problem)), '')
    if problem:
        kept = f'; the last good checkpoint is {run.checkpoint}' if run.checkpoint.exists() else ''
        raise NotFinite(
            f'after step {progress.step:,} {problem}; nothing was saved{kept}',
            todo='resume with --resume and step.clip_norm (set per optimizer if there are several), which checks each '
            'gradient before it is applied, or with --precision 32-true; or start over with a lower learning rate',
        )


def versions() -> dict[str, str]:
    """Returns the versions of vireid and torch."""
    return {'vireid': __version__, 'torch': str(torch.__version__)}


def require_same_run(run: Run, content: dict[str, Any], source: str) -> None:
    """Checks that a checkpoint can be resumed by this run: same model, data, split and number of processes.

    Args:
        run: the run.
        content: the checkpoint.
        source: its name in messages.

    Raises:
        VireidError: if it belongs to another run, or cannot be resumed at all.
    """
    at = content.get('progress', {})
    if content.get('adapted'):
        raise UnsupportedFile(
            f'{source} was adapted to other cameras, so its BatchNorm statistics are not those of training',
            todo=f'start a new run from its weights: --init {source}; or undo the adaptation: vireid adapt --revert',
        )
    if content.get('converted'):
        raise UnsupportedFile(
            f'{source} was converted from released weights and has no training state',
            todo=f'start a new run from its weights: --init {source}',
        )
    if content.get('split', '') != run.split:
        raise Changed(
            f'{source} was trained on {content.get("split") or "the only split"}, but this run uses '
            f'{run.split or "the only split"}',
            todo='resume with the same --split',
        )
    processes = content.get('processes', world()[1])
    if processes != world()[1]:
        raise Changed(
            f'{source} was trained with {processes} processes, but this run has {world()[1]}: its batches would differ',
            todo=f'resume with --devices {processes}, or start a new run from its weights: --init {source}',
        )
    if at.get('steps_per_epoch') != run.progress.steps_per_epoch:
        raise Changed(
            f'{source} was trained with {counted(at.get("steps_per_epoch", 0), "step")} per epoch, but this run has '
            f'{run.progress.steps_per_epoch}',
            todo='resume with the same data and sampler',
        )
    if at.get('step', 0) > run.progress.total_steps:
        text = f'{source} is at step {at["step"]:,}, but this run ends after {run.progress.total_steps:,}'
        raise Mismatch(text, todo='increase training.steps or training.epochs, or evaluate it: vireid test')
    step = run.experiment.manager.components.get('steps', run.experiment.step['type'])
    theirs = read_sections(content['config'], source)
    if changed := changes(run.experiment, theirs, resumable(run.experiment, Step.resumable(step))):
        raise Changed(
            f'{source} was trained with different values of {named(changed)}',
            todo='resume with the config.yaml next to the checkpoints (vireid train RUN/config.yaml --work-dir RUN '
            '--resume), or start a new run',
        )


def restore_step(step: Any, state: dict[str, Any], source: str) -> None:
    """Restores a step from a checkpoint.

    Args:
        step: the step.
        state: its saved state.
        source: name of the checkpoint, for messages.

    Raises:
        VireidError: if the state does not fit the step.
    """
    try:
        step.load_state_dict(state)
    except VireidError:
        raise
    except Exception as error:  # the step may be third-party code
        raise Mismatch(
            f'{source} has no state that {type(step).__name__} can resume from ({type(error).__name__}: {error})',
            todo='resume from another checkpoint of the run, or start a new run from its weights: --init',
        ) from error
