"""Prepares and starts a run: checks what it can before data is read, then builds everything the trainer needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from torch import nn

from vireid.boundary import checkpoint
from vireid.console.warn import warn_once
from vireid.core.config.experiment import Experiment
from vireid.core.data.image_set import ImageSet
from vireid.core.data.images import decoder
from vireid.core.data.loader import BatchStream, default_workers
from vireid.core.scoring.evaluator import Evaluator, progress_callback
from vireid.core.scoring.results import Results
from vireid.core.training.run import Run
from vireid.core.training.selection import Selection
from vireid.core.training.trainer import Setup, Trainer
from vireid.core.types import Progress, Sample
from vireid.errors import MissingKey, NotReady, raise_all
from vireid.interfaces import Dataset, Model, Sampler
from vireid.launch import precision
from vireid.launch.bf16_check import settle_precision
from vireid.launch.compilation import compile_forward
from vireid.launch.contents import content_numbers, require_apart, require_no_twins, require_unseen
from vireid.launch.data_name import data_name
from vireid.launch.fabric import make_fabric
from vireid.launch.identities import digest_of, name_identities, require_same_identities, require_same_images
from vireid.launch.image_checks import check_images, warn_skipped
from vireid.launch.memory_format import settle_memory_format
from vireid.launch.on_device import split_transforms
from vireid.launch.preflight import attempt_all, missing_init, preflight
from vireid.launch.validation_split import ValidationSplit
from vireid.launch.weights import initialize_from, seen_by_weights
from vireid.launch.work_dir import require_own_folder
from vireid.launch.world_size import for_this_world_size
from vireid.runtime.allocator import keep_freed_memory
from vireid.runtime.batch_norm import synchronize_norms


def train(
    experiment: Experiment,
    work_dir: str | Path,
    *,
    resume: str | Path | None = None,
    callbacks: Sequence[object] = (),
    calibration: dict[str, Any] | None = None,
) -> Results:
    """Trains and evaluates a model; see `prepare`.

    Returns:
        The evaluation of the final weights.
    """
    return prepare(experiment, work_dir, resume=resume, callbacks=callbacks, calibration=calibration).train()


def prepare(
    experiment: Experiment,
    work_dir: str | Path,
    *,
    resume: str | Path | None = None,
    callbacks: Sequence[object] = (),
    calibration: dict[str, Any] | None = None,
) -> Trainer:
    """Selects the precision, starts the processes, runs the preflight checks, and builds the run.

    Args:
        experiment: the experiment.
        work_dir: folder for `config.yaml`, `checkpoints/`, `result.json` and the files of the loggers.
        resume: checkpoint to resume from.
        callbacks: objects with hooks, called in addition to the loggers and plugins.
        calibration: calibration of a similar model, for a run without validation people.

    Raises:
        VireidError: for anything the user can fix.
    """
    content = checkpoint.load(resume) if resume is not None else None
    chosen = precision.choose(experiment.training, precision.of_checkpoint(content), resume)
    experiment = experiment.with_overrides({'training.precision': chosen.name})
    settings = experiment.training
    init = settings.init if resume is None else None
    if experiment.refit is not None:
        raise NotReady('refit: the first training must select the steps', todo='use vireid train, or vireid.train')
    if resume is None and init is None:
        if experiment.stages:
            raise NotReady(
                f'stages: {", ".join(experiment.stages)} must be trained first',
                todo='train all of them with the command: vireid train CONFIG; or pass their checkpoint as init',
            )
        if settings.init_except:
            raise MissingKey(
                'training.init_except is set, but nothing initializes this run',
                todo='set training.init or stages, or remove training.init_except',
                path='training.init_except',
            )
    fabric = make_fabric(settings)
    if fabric.device.type == 'cpu':
        keep_freed_memory()
    if chosen.warning and fabric.is_global_zero:
        warn_once(chosen.warning)
    pretrained = resume is None and (init is None or settings.init_partial or bool(settings.init_except))
    *_, hooks, (dataset, samples) = attempt_all(
        lambda: raise_all(missing_init(init)),
        lambda: preflight(experiment, pretrained),
        lambda: experiment.manager.observers(
            [*(experiment.build_loggers() if fabric.is_global_zero else ()), *callbacks]
        ),
        lambda: _read_dataset(experiment, work_dir if fabric.is_global_zero else None),
    )
    identities, split = name_identities(dataset, samples), Dataset.split_name(dataset)
    if content is not None and content.get('split', '') == split:  # a different split is reported later
        require_same_identities(content, identities, str(resume))
    sampler, (evaluator, candidates, selection) = attempt_all(
        lambda: experiment.build_sampler(samples, fabric.global_rank, fabric.world_size),
        lambda: _build_evaluators(experiment, dataset, samples, hooks),
    )
    progress = Progress(0, 0, len(sampler), settings.total_steps(len(sampler)))
    scored = (*evaluator.samples, *candidates.samples)
    check_images(experiment.images, samples, scored, progress_callback(hooks, 'checking images'))
    on_progress = progress_callback(hooks, 'preparing training images')
    read = experiment.build_reader('train', samples, decoder(experiment.images), on_progress)
    batches = build_batches(experiment, samples, sampler, fabric, read)
    numbers = _compare_images(experiment, samples, (evaluator, candidates), read, hooks)
    contents = np.array([numbers[s.path] for s in samples if s.path in numbers], dtype=np.int64)
    digest = digest_of(samples, identities, numbers)
    if content is not None and content.get('split', '') == split:
        require_same_images(content, digest, contents, str(resume))
    model = experiment.build_model(len(identities), pretrained, progress.steps_per_epoch).to(fabric.device)
    initial, seen = None, np.zeros(0, dtype=np.int64)
    if init is not None:
        initial, seen = initialize_from(
            model, init, settings.init_partial, fabric.is_global_zero, len(identities), settings.init_except
        )
        require_unseen(scored, seen, f'training.init: {init}', numbers)
    for path, images in seen_by_weights(experiment.model).items():
        require_unseen(scored, images, f'the weights {path}', numbers)
        seen = np.union1d(seen, images)
    chosen, experiment, fabric = settle_precision(chosen, experiment, model, batches, fabric)
    experiment = settle_memory_format(experiment, model, fabric.device, None if content is None else content['config'])
    _adjust(model, experiment, fabric)
    run = Run(
        experiment, Path(work_dir), model, fabric.device, progress, samples, split, chosen.reason,
        resumed=resume is not None, init=initial, seen=seen,
        tested=len(evaluator.identities), data=data_name(experiment.dataset, dataset), identities=identities,
        contents=contents, images_digest=digest, calibration=calibration or (content or {}).get('calibration'),
    )  # fmt: skip
    step = experiment.build_step(model, fabric)
    trainer = Trainer(Setup(run, fabric, hooks, step, batches, evaluator, candidates, selection, resume))
    if content is not None:
        trainer.load_state_dict(for_this_world_size(run, content, str(resume)), str(resume))
    return trainer


def _read_dataset(experiment: Experiment, work_dir: str | Path | None) -> tuple[Dataset, tuple[Sample, ...]]:
    """Returns the dataset and its training samples; also checks `work_dir` in the process that writes to it."""
    dataset = experiment.build_dataset()
    if work_dir is not None:
        warn_skipped(dataset)
        require_own_folder(Path(work_dir), dataset, experiment.manager.components)
    return dataset, tuple(dataset.split('train'))


def _compare_images(
    experiment: Experiment, samples: Sequence[Sample], evaluators: Sequence[Evaluator], read: Any, hooks: Any
) -> dict[str, int]:
    """Returns the content hashes of all images, after checking that none is both trained on and scored."""
    settings, on_progress = experiment.images, progress_callback(hooks, 'comparing images')
    numbers = content_numbers(samples, settings, read, on_progress)
    for evaluator in dict.fromkeys(evaluators):
        numbers |= content_numbers(evaluator.samples, settings, evaluator.read)
        require_apart(samples, evaluator.samples, numbers)
        require_no_twins(evaluator.trials, numbers)
    return numbers


def _build_evaluators(
    experiment: Experiment, dataset: Dataset, samples: Sequence[Sample], hooks: Any
) -> tuple[Evaluator, Evaluator, Selection]:
    """Builds the evaluators at the start of the run, so that errors do not surface only at its end."""
    evaluator = candidates = Evaluator(experiment, dataset, hooks)
    identities = 0
    if experiment.evaluation.select == 'validation':
        validation: Any = ValidationSplit(dataset, samples)
        identities = len({s.identity for s in validation.split('val')})
        candidates = Evaluator(experiment, validation, hooks, split='validation')
        evaluator.fits = False  # the checkpoint of the best candidate contains its fitted state
    return evaluator, candidates, Selection(experiment.evaluation, identities)


def build_batches(
    experiment: Experiment, samples: Sequence[Sample], sampler: Sampler, fabric: Fabric, read: Any
) -> BatchStream:
    """Returns the training batches of a run.

    Args:
        experiment: its transforms, views, seed and `images` are used.
        samples: the training samples.
        sampler: draws the batches of this process.
        fabric: says which device and process this is.
        read: maps a path to a (3, H, W) uint8 image.
    """
    images = experiment.images
    labels = {identity: label for label, identity in enumerate(sorted({s.identity for s in samples}))}
    more: dict[str, Any] = {'device': fabric.device}
    if images.on_device:
        transform, views, more['finish'] = split_transforms(experiment, fabric)
    else:
        transform, views = experiment.build_transform('train'), experiment.build_views()
    data = ImageSet(samples, transform, labels, experiment.seed, read, images.on_bad_image == 'skip', views)
    workers = default_workers(fabric.device) if images.workers is None else images.workers
    return BatchStream(data, sampler, workers, fabric.global_rank, fabric.world_size, **more)


def _adjust(model: nn.Module, experiment: Experiment, fabric: Fabric) -> None:
    """Synchronizes BatchNorm and compiles the training pass, if the config enables it."""
    settings = experiment.training
    if settings.sync_batchnorm and fabric.world_size > 1:
        # with gathered features, the layers after the backbone already see all images
        synchronize_norms(model.backbone if Model.across_ranks(model) else model)  # type: ignore[arg-type]
    if settings.compile:
        compile_forward(model)
