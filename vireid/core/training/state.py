"""A run as a checkpoint: what is saved, and how it is put back."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from vireid import __version__
from vireid.core.config import files as config
from vireid.core.config.settings import READING, EvaluationSettings, LossSettings
from vireid.core.data.loader import WorkerDied
from vireid.core.distributed.processes import gather_objects, world
from vireid.core.errors import VireidError
from vireid.core.training import checkpoint
from vireid.core.training.run import Run
from vireid.core.training.selection import Selection
from vireid.core.types import Progress
from vireid.core.wording import counted


def averaged(step: Any) -> AbstractContextManager[None]:
    """Inside the block the model holds the weights that are scored and saved, if the step averages any."""
    return step.averaged() if hasattr(step, 'averaged') else nullcontext()


def save(run: Run, step: Any, progress: Progress, selection: Selection, best: bool = False) -> None:
    """Writes the run's checkpoint, or that of its best weights; all of it plain, so that loading executes nothing.

    Every process has to call it, since all have to agree that the weights are numbers; the first one writes.
    """
    with averaged(step):
        weights, state = run.model.state_dict(), step.state_dict()
        _require_numbers(run, weights, progress)
        run.share_unreadable()
        if world()[0] == 0:
            _write(run, weights, state, progress, selection, best)


def _require_numbers(run: Run, weights: dict[str, torch.Tensor], progress: Progress) -> None:
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
            todo='go on with --resume and step.clip_norm, which looks at every gradient before it is applied, or with '
            '--precision 32-true; or begin anew with a lower learning rate',
        )


def _write(run: Run, weights: Any, state: Any, progress: Progress, selection: Selection, best: bool) -> None:
    checkpoint.save(
        run.best if best else run.checkpoint,
        {
            'model': weights,
            'step': state,
            'progress': {'step': progress.step, 'steps_per_epoch': progress.steps_per_epoch},
            'processes': world()[1],
            'config': run.experiment.to_config(),
            'num_identities': len({s.identity for s in run.samples}),
            'data': run.experiment.data_name,
            'precision_reason': run.precision_reason,
            'split': run.split,
            'trained_on': torch.from_numpy(run.fingerprint.copy()),
            'best': selection.best,
            'unreadable': list(run.unreadable),
            'skipped': list(run.skipped),
            'chosen': selection.text() if best else '',
            'versions': versions(),
        },
        # of the best two at least: until the newest checkpoint remembers them, the one before has the best before
        keep=max(run.experiment.training_settings.keep, 2 if best else 1),
    )


def versions() -> dict[str, str]:
    return {'vireid': __version__, 'torch': str(torch.__version__)}


def restore(run: Run, step: Any, selection: Selection, content: dict[str, Any], source: str | Path) -> Progress:
    """Puts model, step and the best weights so far back to where a checkpoint was written.

    Raises:
        VireidError: if the checkpoint belongs to another model, dataset split or epoch length.
    """
    at = content.get('progress', {})
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
    ours, theirs = _lasting(run.experiment.to_config()), _lasting(content['config'])
    changed = [key for key in ours if config.dump({key: ours[key]}) != config.dump({key: theirs.get(key)})]
    if changed:
        raise VireidError(
            f'{source} was trained with another {", ".join(changed)} than this run',
            todo='resume with the config.yaml beside the checkpoint, or start a new run',
        )
    checkpoint.load_weights(run.model, content['model'], source)
    try:
        step.load_state_dict(content.get('step', {}))
    except VireidError:
        raise
    except Exception as error:  # a step may keep anything
        raise VireidError(
            f'{source} holds no state that {type(step).__name__} can go on from ({type(error).__name__}: {error})',
            todo='resume from another checkpoint of the run, or begin one from its weights: --init',
        ) from error
    selection.best = dict(content.get('best', {}))
    run.unreadable, run.skipped = list(content.get('unreadable', ())), list(content.get('skipped', ()))
    total = run.progress.total_steps
    return Progress(at['step'] // at['steps_per_epoch'], at['step'], at['steps_per_epoch'], total)


def _lasting(settings: dict[str, Any]) -> dict[str, Any]:
    """The sections that make a run what it is; the rest, such as where the data lies, may change on resuming."""
    kept = {key: settings.get(key, {}) for key in ('seed', 'model', 'step', 'sampler', 'images', 'losses')}
    kept['training.sync_batchnorm'] = settings.get('training', {}).get('sync_batchnorm', False)
    kept['images'] = {**kept['images'], **dict.fromkeys(READING)}
    kept['losses'] = asdict(LossSettings(**{k: v for k, v in kept['losses'].items() if k == 'across_ranks'}))
    # the errors about numbers that are not finite advise to change these
    kept['step'] = {**kept['step'], 'clip_norm': None, 'skip_nonfinite': None}
    evaluation = settings.get('evaluation', {})
    kept['evaluation.select'] = evaluation.get('select', EvaluationSettings.select)
    if kept['evaluation.select'] != 'last':  # figures of another protocol, or of other data, cannot be compared
        kept['evaluation.select_by'] = evaluation.get('select_by', EvaluationSettings.select_by)
        kept['protocol'] = settings.get('protocol', {})
        kept['dataset'] = {**settings.get('dataset', {}), 'root': None}
    return kept


def begin_with(model: nn.Module, source: str | Path, partial: bool, fabric: Fabric) -> dict[str, Any]:
    """Fills a model with the weights of another run; returns which these are, for run.json."""
    weights = checkpoint.load(source)['model']
    about = {'file': str(Path(source).absolute()), 'weights': checkpoint.digest(weights), 'partial': partial}
    if not partial:
        checkpoint.load_weights(model, weights, source)
        return about
    for part, (loaded, total) in checkpoint.load_partly(model, weights, source).items():
        if fabric.is_global_zero:
            print(f'from {source}: {part:<16} {loaded:>12,} of {total:>12,} values ({100 * loaded / total:.0f} %)')
    return about


def worker_died(run: Run, step: Any, progress: Progress, selection: Selection, error: WorkerDied) -> VireidError:
    """Saves the run, if this is its only process; returns what to raise."""
    place = f'the newest checkpoint is {run.checkpoint}'  # the other processes are within a step, and cannot save
    if world()[1] == 1:
        save(run, step, progress, selection)
        place = f'saved in {run.checkpoint}'
    return VireidError(
        f'{error.given}, for the second time at step {progress.step + 1:,}; {place}',
        todo=f'{error.todo}, then go on with --resume',
    )
