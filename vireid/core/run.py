"""One run: where it is written, on what devices, and how it is saved, restored, scored and stopped."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from vireid import __version__
from vireid.core import checkpoint
from vireid.core.errors import VireidError
from vireid.core.evaluation import Results, all_samples, embed_samples, score_trials
from vireid.core.experiment import Experiment, restore_model
from vireid.core.types import Batch, Dataset, Progress, Sample


class Interrupted(Exception):
    """Training stopped on Ctrl-C after saving; holds the checkpoint's path."""


@dataclass
class Run:
    """What observers see of a run.

    Attributes:
        experiment: the config, checked.
        work_dir: where everything of the run is written.
        model: the model being trained.
        device: where it is.
        progress: where the run stands at its start.
        samples: the training samples.
        split: which part of the dataset this is, if it has several (`trial 3`), else empty.
    """

    experiment: Experiment
    work_dir: Path
    model: nn.Module
    device: torch.device
    progress: Progress
    samples: tuple[Sample, ...] = ()
    split: str = ''

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.work_dir / 'checkpoints' / 'last.pt'


def evaluate(run: Run, embedder: Any, dataset: Dataset, hooks: Any, progress: Progress) -> Results:
    """Scores an embedder by the experiment's protocol and tells the observers."""
    experiment = run.experiment
    protocol = experiment.build_protocol()
    trials = protocol.trials(dataset)
    embeddings = embed_samples(
        embedder,
        all_samples(trials),
        experiment.build_transform('test'),
        batch_size=experiment.evaluation_settings.batch_size,
        workers=experiment.image_settings.workers,
        device=run.device,
        on_progress=lambda done, total: hooks.evaluating(run=run, done=done, total=total),
    )
    results = score_trials(embeddings, protocol.name, trials)
    hooks.evaluated(run=run, progress=progress, results=results)
    return results


def test(experiment: Experiment, source: str | Path, work_dir: str | Path) -> Results:
    """Scores a checkpoint by the experiment's protocol.

    Args:
        experiment: model, data and protocol.
        source: the checkpoint.
        work_dir: where the loggers write what they make of the evaluation.

    Raises:
        VireidError: if the checkpoint does not fit the model, or was trained on another split of the dataset.
    """
    content = checkpoint.load(source)
    dataset = experiment.build_dataset()
    split = getattr(dataset, 'split_name', '')
    if content.get('split', '') != split:
        raise VireidError(
            f'{source} was trained on {content.get("split") or "the only split"} and this scores {split}: persons it '
            'was trained on would be in its test',
            todo='score it on its own split with --trial',
        )
    fabric = make_fabric(experiment)
    model = restore_model(experiment, content, source)
    embedder = fabric.setup_module(model)
    embedder.mark_forward_method('embed')
    at = content['progress']
    progress = Progress(at['step'] // at['steps_per_epoch'], at['step'], at['steps_per_epoch'], at['step'])
    run = Run(experiment, Path(work_dir), model, fabric.device, progress, split=split)
    hooks = experiment.manager.observers(experiment.build_loggers())
    return evaluate(run, embedder, dataset, hooks, progress)


def make_fabric(experiment: Experiment) -> Fabric:
    """Starts lightning-fabric with the experiment's devices and precision, quietly."""
    settings = experiment.training_settings
    logging.getLogger('lightning_fabric').setLevel(logging.ERROR)
    warnings.filterwarnings('ignore', module='lightning_fabric')
    try:
        fabric = Fabric(
            accelerator=settings.accelerator,
            devices=settings.devices,
            precision=settings.precision,  # type: ignore[arg-type]
        )
    except (ValueError, RuntimeError, TypeError) as error:
        raise VireidError(
            f'training: accelerator {settings.accelerator!r}, devices {settings.devices!r}, '
            f'precision {settings.precision!r} do not work here: {error}',
            allowed="precision '32-true' or 'bf16-mixed' anywhere, '16-mixed' on a GPU; --devices 1 or more",
        ) from error
    fabric.launch()
    return fabric


def save(run: Run, step: Any, progress: Progress) -> None:
    """Writes the run's checkpoint; all of it plain, so that loading executes nothing."""
    checkpoint.save(
        run.checkpoint,
        {
            'model': run.model.state_dict(),
            'step': step.state_dict(),
            'progress': {'step': progress.step, 'steps_per_epoch': progress.steps_per_epoch},
            'rng': torch.get_rng_state(),
            'config': run.experiment.to_config(),
            'num_identities': len({s.identity for s in run.samples}),
            'split': run.split,
            'versions': {'vireid': __version__, 'torch': str(torch.__version__)},
        },
    )


def restore(run: Run, step: Any, content: dict[str, Any], source: str | Path) -> Progress:
    """Puts model, step and random numbers back to where a checkpoint was written.

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
    if at.get('steps_per_epoch') != run.progress.steps_per_epoch:
        raise VireidError(
            f'{source} was trained with {at.get("steps_per_epoch")} steps an epoch and this run has '
            f'{run.progress.steps_per_epoch}',
            todo='resume with the same data and sampler',
        )
    checkpoint.load_weights(run.model, content['model'], source)
    step.load_state_dict(content['step'])
    torch.set_rng_state(content['rng'])
    total = run.progress.total_steps
    return Progress(at['step'] // at['steps_per_epoch'], at['step'], at['steps_per_epoch'], total)


def require_finite(record: dict[str, Any], batch: Batch, run: Run) -> None:
    """Stops a run whose loss is NaN or infinite, naming the task, the pictures and the way back."""
    if math.isfinite(record['loss']):
        return
    bad = [name for name, value in record['tasks'].items() if not math.isfinite(value)] or ['the weighted sum']
    paths = [path for found in batch.paths.values() for path in found]
    raise VireidError(
        f'the loss is {record["loss"]} (from {", ".join(bad)}) on a batch with {paths[0]} and {len(paths) - 1} others',
        todo=f'lower the learning rate, set step.clip_norm, or use --precision 32-true; last good: {run.checkpoint}',
    )


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Turns the first Ctrl-C into a note in the list it yields; the second one interrupts at once."""
    noted: list[int] = []

    def note(number: int, frame: Any) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread: whoever runs us handles signals
        yield noted
        return
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
