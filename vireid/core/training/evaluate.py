"""Scoring a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vireid.core.config.experiment import Experiment
from vireid.core.data.image_checks import check_images
from vireid.core.data.images import fingerprint
from vireid.core.errors import VireidError
from vireid.core.scoring import results as results_file
from vireid.core.scoring.evaluator import Evaluator, progress_callback
from vireid.core.scoring.results import Results
from vireid.core.training import checkpoint
from vireid.core.training.checkpoint import restore_model
from vireid.core.training.fabric import make_fabric
from vireid.core.training.run import Run
from vireid.core.training.state import versions
from vireid.core.types import Dataset, Progress


def score_checkpoint(
    experiment: Experiment, source: str | Path, work_dir: str | Path, whole_split: bool = False
) -> Results:
    """Scores a checkpoint by the experiment's protocol.

    Args:
        experiment: model, data and protocol.
        source: the checkpoint.
        work_dir: gets `result.json`, and what the loggers make of the evaluation.
        whole_split: embed every image of the test split, not only those of the trials.

    Raises:
        VireidError: if the checkpoint does not fit the model, or was trained on another split of the dataset.
    """
    content = checkpoint.load(source)
    dataset = experiment.build_dataset()
    _require_unseen(experiment, dataset, content, source)
    split = getattr(dataset, 'split_name', '')
    fabric = make_fabric(experiment.training_settings)
    hooks = experiment.manager.observers(experiment.build_loggers() if fabric.is_global_zero else [])
    more = dataset.split('test') if whole_split else ()
    evaluator = Evaluator(experiment, dataset, hooks, more=more)
    check_images(experiment.image_settings, (), evaluator.samples, progress_callback(hooks, 'looking at images'))
    model = restore_model(experiment, content, source).to(fabric.device)
    at = content.get('progress', {})
    progress = Progress(0, 0, at.get('steps_per_epoch', 1), at.get('step', 0)).at(at.get('step', 0))
    run = Run(experiment, Path(work_dir), model, fabric.device, progress, split=split)
    weights = content.get('chosen') or f'after step {progress.step:,}'
    size = tuple(experiment.image_settings.size)
    trained = tuple(content['config'].get('images', {}).get('size', size))
    if size != trained:
        weights += f', trained at {trained[0]} x {trained[1]} and scored at {size[0]} x {size[1]}'
    results = evaluator.evaluate(run, hooks, progress, weights)
    if fabric.is_global_zero:
        about = {
            'experiment': experiment.name,
            'checkpoint': str(Path(source).absolute()),
            'dataset': experiment.dataset,
            'split': split,
            'versions': versions(),
            'protocol_config': experiment.protocol,
        }
        results_file.write(run.work_dir, {**about, **results.to_dict()})
    return results


def _require_unseen(experiment: Experiment, dataset: Dataset, content: dict[str, Any], source: str | Path) -> None:
    """Refuses to score a checkpoint on identities it was trained on.

    Raises:
        VireidError: if it is of another split of this dataset, or of some of these very images.
    """
    split, trained_on = getattr(dataset, 'split_name', ''), content.get('split', '')
    if content['config'].get('dataset', {}).get('type') == experiment.dataset['type'] and trained_on != split:
        raise VireidError(
            f'{source} was trained on {trained_on or "the only split"} and this scores {split or "the only split"}: '
            'identities it was trained on would be in its test',
            todo='score it on its own split with --trial',
        )
    seen = content.get('trained_on')
    if seen is not None:
        both = np.isin(fingerprint(dataset.split('test')), seen.numpy()).sum()
        if both:
            raise VireidError(
                f'{source} was trained on {both:,} of the images that this would score it on',
                todo='test it on the split its config left for that',
            )
