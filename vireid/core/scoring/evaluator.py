"""Scores a model with an experiment's protocol."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from vireid.core.config.experiment import Experiment
from vireid.core.config.frozen import thaw
from vireid.core.data.image_set import ImageSet
from vireid.core.data.images import decoder
from vireid.core.data.loader import Batches, default_workers
from vireid.core.registry.contracts import located
from vireid.core.scoring.embedding import all_samples, embed_samples, score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.results import Results
from vireid.core.scoring.scorable import labels, require_match, require_scorable
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Progress, Sample
from vireid.errors import TooFew
from vireid.interfaces import Dataset, Fit, Model, Similarity
from vireid.runtime.randomness import seeded
from vireid.statistics import calibration


@dataclass(frozen=True)
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
        results: the scores.
        fitted_step: step after which the evaluation fitted the model to the training images; None if it did not.
        similarity: `config` and `state` of the similarity that the evaluation fitted to the training images, if any.
        calibration: calibration from the validation images (`vireid.statistics.calibration`); None for other images.
    """

    results: Results
    fitted_step: int | None = None
    similarity: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None


class Evaluator:
    """Evaluates models with an experiment's protocol on a dataset.

    Args:
        experiment: defines the protocol, the transforms and the variants to score.
        dataset: the dataset whose test split is scored.
        hooks: the callbacks.
        split: the split that serves as the test split; `validation` is added to the protocol's name.
        more: samples to embed in addition to those of the trials.
        fits: whether to fit a model that has `fit` to the training images first; False if it was restored fitted.
        fitted: state of a fitted similarity; None fits it to the training images.

    Raises:
        VireidError: if the protocol, the test images or the test transforms are unavailable or invalid.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        hooks: Any,
        split: Literal['test', 'validation'] = 'test',
        more: Sequence[Sample] = (),
        fits: bool = True,
        fitted: Mapping[str, Any] | None = None,
    ) -> None:
        self.experiment, self.dataset, self.fits, self.fitted = experiment, dataset, fits, fitted
        self.split = split
        protocol = experiment.build_protocol()
        self.protocol, self.trials = protocol.name, protocol.trials(dataset)
        for trial in self.trials:  # before hours of training, not after
            require_scorable(trial)
            require_match(trial)
        self.samples = all_samples(self.trials, more)
        self.identities = {s.identity for trial in self.trials for s in trial.query}
        if split == 'validation':
            self.protocol += f' on {len({s.identity for s in dataset.split("test")})} validation identities'
        if experiment.evaluation.precision == 'bf16-mixed':
            self.protocol += ', embeddings in bf16'
        # a cache stores the whole split, so that it also serves other protocols
        prepared = all_samples(self.trials, dataset.split('test')) if experiment.images.reader else ()
        self.transform = experiment.build_transform('test')
        self.reranker = experiment.build_reranker()
        on_progress = progress_callback(hooks, 'preparing images to score')
        self.read = experiment.build_reader('test', prepared, decoder(experiment.images), on_progress)

    def evaluate(
        self,
        run: Any,
        hooks: Any,
        progress: Progress,
        weights: str = '',
        variants: bool = True,
        check_interrupt: Callable[[], None] = lambda: None,
    ) -> Evaluation:
        """Scores the run's model and calls the hooks.

        Args:
            run: the run, with its model on its device.
            hooks: the callbacks.
            progress: the position of the run.
            weights: description of the weights; by default `after step N`.
            variants: also score flip averaging and re-ranking, if the experiment enables them.
            check_interrupt: called regularly, equally often in every process; it may raise to stop.

        Raises:
            VireidError: if an image cannot be read, or the model or similarity returns invalid values.
        """

        def on_progress(what: str) -> Callable[[int, int], None]:
            def show(done: int, total: int) -> None:
                check_interrupt()
                hooks.evaluating(run=run, what=what, done=done, total=total)

            return show

        fitted_step, kept = None, None
        if self.fits and (fit := Model.fit(run.model)):
            self._fit(run, fit, on_progress('fitting to training images'))
            fitted_step = progress.step
        embed = functools.partial(
            embed_samples,
            run.model,
            transform=self.transform,
            batch_size=run.experiment.evaluation.batch_size,
            precision=run.experiment.evaluation.precision,
            workers=run.experiment.images.workers,
            device=run.device,
        )
        similarity: Any = self.experiment.build_similarity(run.model)
        fit_similarity = Similarity.fit(similarity)
        if fit_similarity and self.fitted is not None:
            similarity.load_state_dict(self.fitted)
        elif fit_similarity:
            samples = require_samples(self.dataset.split('train'), similarity)
            training = embed(samples, on_progress=on_progress('embedding training images'))
            with seeded(self.experiment.seed, 'fit'):  # equal in every process
                fit_similarity(training)
            kept = {'config': thaw(self.experiment.evaluation.similarity), 'state': dict(similarity.state_dict())}
        flip = variants and run.experiment.evaluation.flip
        embeddings = embed(self.samples, flip=flip, read=self.read, on_progress=on_progress('embedding images'))
        results = score_trials(
            embeddings,
            self.protocol,
            self.trials,
            similarity=similarity,
            reranker=self.reranker if variants else None,
            ties=run.experiment.evaluation.ties,
            weights=weights or f'after step {progress.step:,}',
            data=run.data,
            split=self.split,
            on_progress=on_progress('scoring trials'),
        )
        hooks.evaluated(run=run, progress=progress, results=results)
        calibrates = self.split == 'validation' and similarity is None
        return Evaluation(results, fitted_step, kept, _calibrate(embeddings) if calibrates else None)

    def _fit(self, run: Any, fit: Fit, on_progress: Callable[[int, int], None]) -> None:
        """Fits the run's model to the training images with the test transforms."""
        samples = require_samples(self.dataset.split('train'), run.model)
        images, size = run.experiment.images, run.experiment.evaluation.batch_size
        read = run.experiment.build_reader('test', samples, decoder(images))
        data = ImageSet(samples, self.transform, read=read, skip_bad=images.on_bad_image == 'skip')
        chunks = [range(start, min(start + size, len(samples))) for start in range(0, len(samples), size)]
        workers = default_workers(run.device) if images.workers is None else images.workers

        def report(done: int) -> None:
            if done:
                on_progress(min(done * size, len(samples)), len(samples))

        run.model.eval()
        with torch.no_grad(), located(run.model), seeded(self.experiment.seed, 'fit'):  # equal in every process
            fit(Batches(data, chunks, workers, run.device, report))


def _calibrate(embeddings: Embeddings) -> dict[str, Any] | None:
    """Calibrates the similarity of visible and infrared images; None if these people do not suffice."""
    parts = {}
    for modality in MODALITIES:
        samples = [sample for sample in embeddings.samples if sample.modality == modality]
        if not samples:
            return None
        parts[modality] = (embeddings.of(samples), labels(samples)[0])
    (visible, people), (infrared, others) = parts[VISIBLE], parts[INFRARED]
    fitted = calibration.fit(visible @ infrared.T, people, others)
    return None if fitted is None else fitted.to_dict()


def require_samples(samples: Sequence[Sample], fits: Any) -> Sequence[Sample]:
    """Returns the training samples to fit a component to.

    Raises:
        TooFew: if there are none.
    """
    if not samples:
        raise TooFew(
            f'{type(fits).__name__} must be fitted to training images, but the training split is empty',
            todo='check the training identities of the dataset',
        )
    return samples


def progress_callback(hooks: Any, what: str) -> Callable[[int, int], None]:
    """Returns a function of (done, total) that reports the progress of `what` to the callbacks."""
    return lambda done, total: hooks.preparing(what=what, done=done, total=total)
