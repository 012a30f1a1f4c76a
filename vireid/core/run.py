"""One run: where it is written, on what devices, and how it is saved, restored, scored and stopped."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from vireid import __version__
from vireid.core import checkpoint, config, features
from vireid.core import results as results_file
from vireid.core.errors import VireidError
from vireid.core.evaluation import all_samples, embed_samples, score_trials
from vireid.core.experiment import EvaluationSettings, Experiment, restore_model
from vireid.core.results import Results
from vireid.core.selection import Selection
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

    @cached_property
    def fingerprint(self) -> np.ndarray:
        """Numbers of the training pictures, by which a test on them is noticed."""
        return fingerprint(self.samples)

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.work_dir / 'checkpoints' / 'last.pt'

    @property
    def best(self) -> Path:
        """The checkpoint of the best weights, where the experiment chooses some."""
        return self.work_dir / 'checkpoints' / 'best.pt'


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

    def evaluate(self, run: Run, hooks: Any, progress: Progress, weights: str = '', beside: bool = True) -> Results:
        """Scores the run's model, in float32 on this process alone, and tells the observers.

        Args:
            run: whose model.
            hooks: the observers.
            progress: where the run stands.
            weights: which weights these are; by default those of that step.
            beside: score flip averaging and re-ranking too, if the experiment asks for them.
        """

        def tell(what: str) -> Callable[[int, int], None]:
            return lambda done, total: hooks.evaluating(run=run, what=what, done=done, total=total)

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
    model = restore_model(experiment, content, source).to(fabric.device)
    at = content['progress']
    progress = Progress(at['step'] // at['steps_per_epoch'], at['step'], at['steps_per_epoch'], at['step'])
    run = Run(experiment, Path(work_dir), model, fabric.device, progress, split=split)
    weights = content.get('chosen') or f'after step {progress.step:,}'
    size, trained = (tuple(c['images']['size']) for c in (experiment.to_config(), content['config']))
    if size != trained:
        weights += f', trained at {trained[0]} x {trained[1]} and scored at {size[0]} x {size[1]}'
    results = scoring.evaluate(run, hooks, progress, weights)
    if fabric.is_global_zero:
        about = {
            'experiment': experiment.name,
            'checkpoint': str(Path(source).absolute()),
            'dataset': experiment.dataset,
            'split': split,
            'protocol': experiment.protocol,
            'weights': results.weights,
            'versions': _versions(),
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


def fingerprint(samples: Sequence[Sample]) -> np.ndarray:
    """Returns a (N,) int64 number for each picture's file, the same on every run."""
    folder = cache(os.path.realpath)  # of a few folders, not of each picture

    def digest(path: str) -> bytes:
        place = f'{folder(os.path.dirname(path))}/{os.path.basename(path)}'
        return hashlib.blake2b(place.encode(), digest_size=8).digest()

    return np.frombuffer(b''.join(digest(s.path) for s in samples), dtype=np.int64)


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
    except Exception as error:  # Fabric has several of its own
        raise VireidError(
            f'training: accelerator {settings.accelerator!r}, devices {settings.devices!r}, '
            f'precision {settings.precision!r} do not work here: {error}',
            allowed="precision '32-true' or 'bf16-mixed' anywhere, '16-mixed' on a GPU; --devices 1 or more",
        ) from error
    fabric.launch()
    return fabric


def save(run: Run, step: Any, progress: Progress, selection: Selection, best: bool = False) -> None:
    """Writes the run's checkpoint, or that of its best weights; all of it plain, so that loading executes nothing."""
    checkpoint.save(
        run.best if best else run.checkpoint,
        {
            'model': run.model.state_dict(),
            'step': step.state_dict(),
            'progress': {'step': progress.step, 'steps_per_epoch': progress.steps_per_epoch},
            'rng': torch.get_rng_state(),
            'config': run.experiment.to_config(),
            'num_identities': len({s.identity for s in run.samples}),
            'split': run.split,
            'trained_on': torch.from_numpy(run.fingerprint.copy()),
            'best': selection.best,
            'chosen': selection.text() if best else '',
            'versions': _versions(),
        },
    )


def _versions() -> dict[str, str]:
    return {'vireid': __version__, 'torch': str(torch.__version__)}


def restore(run: Run, step: Any, selection: Selection, content: dict[str, Any], source: str | Path) -> Progress:
    """Puts model, step, best weights so far and random numbers back to where a checkpoint was written.

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
    ours, theirs = _lasting(run.experiment.to_config()), _lasting(content['config'])
    changed = [key for key in ours if config.dump({key: ours[key]}) != config.dump({key: theirs.get(key)})]
    if changed:
        raise VireidError(
            f'{source} was trained with another {", ".join(changed)} than this run',
            todo='resume with the config.yaml beside the checkpoint, or start a new run',
        )
    checkpoint.load_weights(run.model, content['model'], source)
    step.load_state_dict(content['step'])
    selection.best = dict(content.get('best', {}))
    torch.set_rng_state(content['rng'])
    total = run.progress.total_steps
    return Progress(at['step'] // at['steps_per_epoch'], at['step'], at['steps_per_epoch'], total)


def _lasting(settings: dict[str, Any]) -> dict[str, Any]:
    """The sections that make a run what it is; the rest, such as where the data lies, may change on resuming."""
    kept = {key: settings[key] for key in ('seed', 'model', 'step', 'sampler', 'images')}
    kept['images'] = {**kept['images'], 'workers': None, 'reader': None}
    evaluation = EvaluationSettings(**settings.get('evaluation', {}))
    kept['evaluation.select'] = evaluation.select
    if evaluation.select != 'last':  # figures of another protocol, or of other data, cannot be compared
        kept['evaluation.select_by'] = evaluation.select_by
        kept['protocol'] = settings['protocol']
        kept['dataset'] = {**settings['dataset'], 'root': None}
    return kept


def agreed(fabric: Fabric, flag: bool) -> bool:
    """Says whether any process raised its flag; all of them get the same answer, so none waits for another."""
    if fabric.world_size == 1:
        return flag
    return bool(fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op='sum'))


def require_finite(record: dict[str, Any], batch: Batch, run: Run, fabric: Fabric) -> None:
    """Stops a run whose loss is NaN or infinite, naming the task, the pictures and the way back."""
    if not agreed(fabric, not math.isfinite(record['loss'])):
        return
    bad = [name for name, value in record['tasks'].items() if not math.isfinite(value)] or ['the weighted sum']
    paths = [path for found in batch.paths.values() for path in found]
    last = f'; the last good checkpoint is {run.checkpoint}' if run.checkpoint.exists() else ''
    raise VireidError(
        f'the loss is {record["loss"]} (from {", ".join(bad)}) on a batch with {paths[0]} and {len(paths) - 1} others'
        + last,
        todo='lower the learning rate, set step.clip_norm, or use --precision 32-true',
    )


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing to a run's folder meanwhile.

    Raises:
        VireidError: if one does already.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it goes with the process, however that ends
    except BlockingIOError as error:
        os.close(handle)
        raise VireidError(
            f'another process is writing to {folder}', todo='wait for it, or choose another --work-dir'
        ) from error
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(handle)


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
