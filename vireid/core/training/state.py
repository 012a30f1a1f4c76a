"""A run as a checkpoint: what is saved, and what has to be alike to go on from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vireid import __version__
from vireid.core.config.same_run import changes, named, read_sections, resumable
from vireid.core.data.images import fingerprint
from vireid.core.distributed.processes import gather_objects, world
from vireid.core.errors import VireidError
from vireid.core.interfaces import Step
from vireid.core.training.run import Run
from vireid.core.types import Progress, Sample
from vireid.core.wording import counted


def state_of(run: Run, progress: Progress) -> dict[str, Any]:
    """Returns the model of a run, what it was made of and where it stands, as tensors and plain values."""
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
        'unreadable': list(run.unreadable),
        'skipped': list(run.skipped),
        'fitted_step': run.fitted_step,
        'versions': versions(),
    }


def require_numbers(run: Run, weights: dict[str, torch.Tensor], progress: Progress) -> None:
    """Raises if weights are not finite, or what a module remembers is NaN: nobody could go on from that."""
    own = {name for name, _ in run.model.named_parameters()}
    found = ''
    for name, value in weights.items():
        wrong = ~torch.isfinite(value) if name in own else torch.isnan(value)
        if not found and wrong.any():
            found = f'{name} holds {value[wrong].flatten()[0].item()}'
    found = next(filter(None, gather_objects(found)), '')
    if found:
        kept = f'; the last good checkpoint is {run.checkpoint}' if run.checkpoint.exists() else ''
        raise VireidError(
            f'after step {progress.step:,} {found}; nothing was saved{kept}',
            todo='go on with --resume and step.clip_norm (several optimizers have their own), which looks at each '
            'gradient before it is applied, or with --precision 32-true; or begin anew with a lower learning rate',
        )


def versions() -> dict[str, str]:
    return {'vireid': __version__, 'torch': str(torch.__version__)}


def require_unseen(
    samples: Sequence[Sample], seen: np.ndarray, source: str, contents: Mapping[str, int] | None = None
) -> None:
    """Raises if weights were trained on some of the images that they would be scored on.

    Args:
        samples: the images to score.
        seen: (N,) int64, numbers of the images that were trained on.
        source: names the weights.
        contents: numbers of the contents of the images by path; without, only their places are compared.
    """
    known = np.array([(contents or {}).get(s.path, 0) for s in samples], dtype=np.int64)
    both = (np.isin(fingerprint(samples), seen) | (np.isin(known, seen) & (known != 0))).sum()
    if both:
        raise VireidError(
            f'{source} was trained on {both:,} of the images that this would score it on',
            todo='test it on the split its config left for that',
        )


def require_same_run(run: Run, content: dict[str, Any], source: str) -> None:
    """Raises unless a checkpoint belongs to this run: to its model, data, split and number of processes."""
    at = content.get('progress', {})
    if content.get('adapted'):
        raise VireidError(
            f'{source} was adapted to other cameras: its statistics are not those of training',
            todo=f'begin a run from its weights: --init {source}; or take the adapting back: vireid adapt --revert',
        )
    if content.get('converted'):
        raise VireidError(
            f'{source} was converted from released weights: it holds no state of training',
            todo=f'begin a run from its weights: --init {source}',
        )
    if content.get('split', '') != run.split:
        raise VireidError(
            f'{source} was trained on {content.get("split") or "the only split"} and this run is on '
            f'{run.split or "the only split"}',
            todo='resume with the same --trial',
        )
    processes = content.get('processes', world()[1])
    if processes != world()[1]:
        raise VireidError(
            f'{source} was trained by {processes} processes and this run has {world()[1]}: its batches would be others',
            todo=f'resume with --devices {processes}, or begin a run from its weights: --init {source}',
        )
    if at.get('steps_per_epoch') != run.progress.steps_per_epoch:
        raise VireidError(
            f'{source} was trained with {counted(at.get("steps_per_epoch", 0), "step")} an epoch and this run has '
            f'{run.progress.steps_per_epoch}',
            todo='resume with the same data and sampler',
        )
    if at.get('step', 0) > run.progress.total_steps:
        text = f'{source} is {at["step"]:,} steps old and this run ends after {run.progress.total_steps:,}'
        raise VireidError(text, todo='raise training.steps or training.epochs, or score it: vireid test')
    step = run.experiment.manager.components.get('steps', run.experiment.step['type'])
    theirs = read_sections(content['config'], source)
    if changed := changes(run.experiment, theirs, resumable(run.experiment, Step.resumable(step))):
        raise VireidError(
            f'{source} was trained with another {named(changed)} than this run',
            todo='resume with the config.yaml beside the checkpoint, or start a new run',
        )


def restore_step(step: Any, state: dict[str, Any], source: str) -> None:
    """Puts a step back to where a checkpoint was written.

    Raises:
        VireidError: if it belongs to another step.
    """
    try:
        step.load_state_dict(state)
    except VireidError:
        raise
    except Exception as error:  # a step may keep anything
        raise VireidError(
            f'{source} holds no state that {type(step).__name__} can go on from ({type(error).__name__}: {error})',
            todo='resume from another checkpoint of the run, or begin one from its weights: --init',
        ) from error
