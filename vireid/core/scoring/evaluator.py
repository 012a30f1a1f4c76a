"""Scoring a model by an experiment's protocol."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vireid.core.config.experiment import Experiment
from vireid.core.data.randomness import seeded
from vireid.core.errors import VireidError
from vireid.core.scoring.embedding import all_samples, embed_samples, score_trials
from vireid.core.scoring.results import Results
from vireid.core.types import Dataset, Progress, Sample


class Evaluator:
    """The experiment's protocol on its dataset: everything an evaluation needs but the model.

    Args:
        experiment: protocol, transforms, and what is scored beside the plain rows.
        dataset: whose test split is scored.
        hooks: the observers.
        suffix: added to the protocol's name, where the test split is not the dataset's own.
        more: samples to embed besides those of the trials.
        fitted: state of a similarity that was fitted; None fits it to the training images.

    Raises:
        VireidError: if protocol, test images or test transforms cannot be had.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        hooks: Any,
        suffix: str = '',
        more: Sequence[Sample] = (),
        fitted: Mapping[str, Any] | None = None,
    ) -> None:
        self.experiment, self.dataset, self.fitted = experiment, dataset, fitted
        protocol = experiment.build_protocol()
        self.protocol, self.trials = protocol.name + suffix, protocol.trials(dataset)
        self.samples = all_samples(self.trials, more)
        # a reader that keeps images keeps those of the whole split: another protocol finds them there
        prepared = all_samples(self.trials, dataset.split('test')) if experiment.image_settings.reader else ()
        self.transform = experiment.build_transform('test')
        self.reranker = experiment.build_reranker()
        self.read = experiment.build_reader('test', prepared, progress_callback(hooks, 'preparing images to score'))

    def evaluate(
        self,
        run: Any,
        hooks: Any,
        progress: Progress,
        weights: str = '',
        variants: bool = True,
        check_interrupt: Callable[[], None] = lambda: None,
    ) -> Results:
        """Scores the run's model, in float32 on this process alone, and tells the observers.

        Args:
            run: whose model, on its device; what observers are shown.
            hooks: the observers.
            progress: where the run stands.
            weights: which weights these are; by default those of that step.
            variants: score flip averaging and re-ranking too, if the experiment asks for them.
            check_interrupt: is called now and then, as often in every process, and may raise to stop.
        """

        def on_progress(what: str) -> Callable[[int, int], None]:
            def show(done: int, total: int) -> None:
                check_interrupt()
                hooks.evaluating(run=run, what=what, done=done, total=total)

            return show

        embed = functools.partial(
            embed_samples,
            run.model,
            transform=self.transform,
            batch_size=run.experiment.evaluation_settings.batch_size,
            workers=run.experiment.image_settings.workers,
            device=run.device,
        )
        similarity: Any = self.experiment.build_similarity(run.model)
        if hasattr(similarity, 'fit') and self.fitted is not None:
            similarity.load_state_dict(self.fitted)
        elif hasattr(similarity, 'fit'):
            samples = require_samples(self.dataset.split('train'), similarity)
            training = embed(samples, on_progress=on_progress('embedding training images'))
            with seeded(self.experiment.seed, 'fit'):  # alike in every process
                similarity.fit(training)
            run.fitted = {'config': self.experiment.evaluation['similarity'], 'state': dict(similarity.state_dict())}
        flip = variants and run.experiment.evaluation_settings.flip
        embeddings = embed(self.samples, flip=flip, read=self.read, on_progress=on_progress('embedding images'))
        results = score_trials(
            embeddings,
            self.protocol,
            self.trials,
            similarity=similarity,
            reranker=self.reranker if variants else None,
            weights=weights or f'after step {progress.step:,}',
            data=run.experiment.data_name,
            on_progress=on_progress('scoring trials'),
        )
        hooks.evaluated(run=run, progress=progress, results=results)
        return results


def require_samples(samples: Sequence[Sample], fits: Any) -> Sequence[Sample]:
    """Returns training samples, or raises if there are none to fit something to."""
    if not samples:
        raise VireidError(
            f'{type(fits).__name__} is fitted to training images, and the split has none',
            todo='check the training identities of the dataset',
        )
    return samples


def progress_callback(hooks: Any, what: str) -> Callable[[int, int], None]:
    """Returns what a reader calls with (done, total) while it prepares, for the observers."""
    return lambda done, total: hooks.preparing(what=what, done=done, total=total)
