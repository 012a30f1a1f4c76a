"""Scoring a model by an experiment's protocol: during a run, at its end, or from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vireid.core import checkpoint, features
from vireid.core import results as results_file
from vireid.core.data import fingerprint
from vireid.core.errors import VireidError
from vireid.core.evaluation import all_samples, embed_samples, score_trials
from vireid.core.experiment import Experiment
from vireid.core.inspection import look_at_pictures
from vireid.core.loading import restore_model
from vireid.core.results import Results
from vireid.core.run import Run, make_fabric
from vireid.core.snapshots import versions
from vireid.core.types import Dataset, Progress, Sample


class Scoring:
    """The experiment's protocol on its dataset: everything an evaluation needs but the model.

    Args:
        experiment: protocol, transforms, and what is scored beside the plain rows.
        dataset: whose test split is scored.
        hooks: the observers.
        suffix: added to the protocol's name, where the test split is not the dataset's own.
        more: samples to embed besides those of the trials.

    Raises:
        VireidError: if protocol, test pictures or test transforms cannot be had.
    """

    def __init__(
        self, experiment: Experiment, dataset: Dataset, hooks: Any, suffix: str = '', more: Sequence[Sample] = ()
    ) -> None:
        protocol = experiment.build_protocol()
        self.protocol, self.trials = protocol.name + suffix, protocol.trials(dataset)
        self.samples = all_samples(self.trials, more)
        # a reader that keeps pictures keeps those of the whole split: another protocol finds them there
        prepared = all_samples(self.trials, dataset.split('test')) if experiment.image_settings.reader else ()
        self.transform = experiment.build_transform('test')
        self.reranker = experiment.build_reranker()
        self.read = experiment.build_reader('test', prepared, telling(hooks, 'preparing pictures to score'))

    def evaluate(
        self,
        run: Run,
        hooks: Any,
        progress: Progress,
        weights: str = '',
        beside: bool = True,
        look_up: Callable[[], None] = lambda: None,
    ) -> Results:
        """Scores the run's model, in float32 on this process alone, and tells the observers.

        Args:
            run: whose model.
            hooks: the observers.
            progress: where the run stands.
            weights: which weights these are; by default those of that step.
            beside: score flip averaging and re-ranking too, if the experiment asks for them.
            look_up: is called now and then, as often in every process, and may raise to stop.
        """

        def tell(what: str) -> Callable[[int, int], None]:
            def show(done: int, total: int) -> None:
                look_up()
                hooks.evaluating(run=run, what=what, done=done, total=total)

            return show

        embeddings = embed_samples(
            run.model,
            self.samples,
            self.transform,
            batch_size=run.experiment.evaluation_settings.batch_size,
            workers=run.experiment.image_settings.workers,
            device=run.device,
            flip=beside and run.experiment.evaluation_settings.flip,
            read=self.read,
            on_progress=tell('embedding pictures'),
        )
        results = score_trials(
            embeddings,
            self.protocol,
            self.trials,
            reranker=self.reranker if beside else None,
            weights=weights or f'after step {progress.step:,}',
            data=run.experiment.data_name,
            on_progress=tell('scoring trials'),
        )
        hooks.evaluated(run=run, progress=progress, results=results)
        return results


def telling(hooks: Any, what: str) -> Callable[[int, int], None]:
    """Returns what a reader calls with (done, total) while it prepares, for the observers."""
    return lambda done, total: hooks.preparing(what=what, done=done, total=total)


def score_checkpoint(
    experiment: Experiment, source: str | Path, work_dir: str | Path, save_features: str | Path | None = None
) -> Results:
    """Scores a checkpoint by the experiment's protocol.

    Args:
        experiment: model, data and protocol.
        source: the checkpoint.
        work_dir: gets `result.json`, and what the loggers make of the evaluation.
        save_features: a file to write the embeddings of the whole test split to, see `core/features.py`.

    Raises:
        VireidError: if the checkpoint does not fit the model, or was trained on another split of the dataset.
    """
    if save_features:
        features.require_writable(save_features)  # now, and not when everything is embedded
    content = checkpoint.load(source)
    dataset = experiment.build_dataset()
    _require_unseen(experiment, dataset, content, source)
    split = getattr(dataset, 'split_name', '')
    fabric = make_fabric(experiment)
    hooks = experiment.manager.observers(experiment.build_loggers() if fabric.is_global_zero else [])
    more = dataset.split('test') if save_features else ()
    scoring = Scoring(experiment, dataset, hooks, more=more)
    look_at_pictures(experiment, (), scoring.samples, telling(hooks, 'looking at pictures'))
    model = restore_model(experiment, content, source).to(fabric.device)
    at = content.get('progress', {})
    done, per_epoch = at.get('step', 0), at.get('steps_per_epoch', 1)
    progress = Progress(done // per_epoch, done, per_epoch, done)
    run = Run(experiment, Path(work_dir), model, fabric.device, progress, split=split)
    weights = content.get('chosen') or f'after step {progress.step:,}'
    size = tuple(experiment.image_settings.size)
    trained = tuple(content['config'].get('images', {}).get('size', size))
    if size != trained:
        weights += f', trained at {trained[0]} x {trained[1]} and scored at {size[0]} x {size[1]}'
    results = scoring.evaluate(run, hooks, progress, weights)
    if fabric.is_global_zero:
        about = {
            'experiment': experiment.name,
            'checkpoint': str(Path(source).absolute()),
            'dataset': experiment.dataset,
            'data': results.data,
            'split': split,
            'protocol': experiment.protocol,
            'weights': results.weights,
            'versions': versions(),
        }
        results_file.write(run.work_dir, {**about, 'protocol_config': experiment.protocol, **results.to_dict()})
        if save_features:
            features.save(save_features, results.embeddings, about, getattr(dataset, 'root', None))
    return results


def _require_unseen(experiment: Experiment, dataset: Dataset, content: dict[str, Any], source: str | Path) -> None:
    """Refuses to score a checkpoint on persons it was trained on.

    Raises:
        VireidError: if it is of another split of this dataset, or of some of these very pictures.
    """
    split, trained_on = getattr(dataset, 'split_name', ''), content.get('split', '')
    if content['config'].get('dataset', {}).get('type') == experiment.dataset['type'] and trained_on != split:
        raise VireidError(
            f'{source} was trained on {trained_on or "the only split"} and this scores {split or "the only split"}: '
            'persons it was trained on would be in its test',
            todo='score it on its own split with --trial',
        )
    seen = content.get('trained_on')
    if seen is not None:
        both = np.isin(fingerprint(dataset.split('test')), seen.numpy()).sum()
        if both:
            raise VireidError(
                f'{source} was trained on {both:,} of the pictures that this would score it on',
                todo='test it on the split its config left for that',
            )
