"""Evaluation of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vireid.boundary import checkpoint, config_text
from vireid.boundary.image_files import spelled
from vireid.boundary.writing import write_whole
from vireid.core.config.experiment import Experiment
from vireid.core.scoring import results as results_file
from vireid.core.scoring.evaluator import Evaluator, progress_callback
from vireid.core.scoring.results import Results
from vireid.core.training.run import Run
from vireid.core.training.state import state_of, versions
from vireid.core.types import Progress, Sample
from vireid.errors import Mismatch, NotReady
from vireid.interfaces import Dataset, Model
from vireid.launch.contents import content_numbers, require_no_twins, require_unseen
from vireid.launch.data_name import data_name
from vireid.launch.fabric import make_fabric
from vireid.launch.image_checks import check_images, warn_skipped
from vireid.launch.preflight import attempt_all
from vireid.launch.weights import initialize_from, restore_model
from vireid.launch.work_dir import require_own_folder


def score_checkpoint(
    experiment: Experiment,
    source: str | Path | None,
    work_dir: str | Path,
    whole_split: bool = False,
    callbacks: Sequence[object] = (),
) -> Results:
    """Evaluates a checkpoint with the protocol of an experiment.

    Args:
        experiment: model, data and protocol.
        source: the checkpoint; None evaluates a model without trainable parameters as it is built. If such a model or
            its similarity is fitted to the training images, the result is saved in `checkpoints/last.pt`.
        work_dir: folder for `result.json` and the output of the loggers.
        whole_split: embed all images of the test split, not only those of the trials.
        callbacks: objects with hooks, in addition to the loggers and plugins.

    Returns:
        The results.

    Raises:
        VireidError: if the checkpoint does not match the model, or was trained on identities or images that it would be
            tested on.
    """
    content, dataset = attempt_all(
        lambda: checkpoint.load(source) if source is not None else None, experiment.build_dataset
    )
    warn_skipped(dataset)
    if content is not None:
        _require_unseen(experiment, dataset, content, str(source))
    split = Dataset.split_name(dataset)
    fabric = make_fabric(experiment.training)
    if fabric.is_global_zero:
        require_own_folder(Path(work_dir), dataset, experiment.manager.components)
    hooks = experiment.manager.observers([*(experiment.build_loggers() if fabric.is_global_zero else ()), *callbacks])
    more = dataset.split('test') if whole_split else ()
    kept = (content or {}).get('similarity', {})
    fitted = kept.get('state') if kept.get('config') == experiment.evaluation.similarity else None
    fits = content is None or not is_fitted(content)
    evaluator = Evaluator(experiment, dataset, hooks, more=more, fits=fits, fitted=fitted)
    check_images(experiment.images, (), evaluator.samples, progress_callback(hooks, 'checking images'))
    numbers = content_numbers(evaluator.samples, experiment.images, evaluator.read)
    require_no_twins(evaluator.trials, numbers)
    if content is not None and 'trained_on' in content:
        require_unseen(evaluator.samples, content['trained_on'].numpy(), str(source), numbers)
    samples = tuple(dataset.split('train')) if content is None else ()
    if content is None:
        model, weights = _as_built(experiment, samples, evaluator), 'without training'
        progress = Progress(0, 0, 1, 0)
    else:
        model = restore_model(experiment, content, str(source))
        step = content.get('progress', {}).get('step', 0)
        progress = Progress(0, 0, content.get('progress', {}).get('steps_per_epoch', 1), step).at(step)
        weights = content.get('chosen') or f'after step {progress.step:,}'
        size = experiment.images.size
        trained = tuple(content['config'].get('images', {}).get('size', size))
        if size != trained:
            weights += f', trained at {trained[0]} x {trained[1]} and scored at {size[0]} x {size[1]}'
        before = spelled(content['config'].get('images', {}).get('scale_raw'))
        now = spelled(experiment.images.scale_raw)
        if now != before:
            weights += f', trained with images.scale_raw={before} and scored with {now}'
    model = model.to(fabric.device)
    data = data_name(experiment.dataset, dataset)
    known = (content or {}).get('calibration')
    run = Run(
        experiment, Path(work_dir), model, fabric.device, progress, samples, split=split, data=data, calibration=known
    )
    if fabric.is_global_zero:
        for name in (results_file.FILE, results_file.QUERIES):  # from an earlier evaluation
            (run.work_dir / name).unlink(missing_ok=True)
    evaluation = evaluator.evaluate(run, hooks, progress, weights)
    results, similarity = evaluation.results, evaluation.similarity
    run.fitted_step = evaluation.fitted_step
    if fabric.is_global_zero:
        if content is None and (similarity is not None or Model.fit(model)):
            kept = {} if similarity is None else {'similarity': similarity}
            checkpoint.save(run.checkpoint, {**state_of(run, progress), 'chosen': weights, **kept})
        about: dict[str, Any] = {
            'experiment': experiment.name,
            'checkpoint': str(Path(source).absolute()) if source is not None else None,
            'dataset': experiment.dataset,
            'split': split,
            'versions': versions(),
            'protocol_config': experiment.protocol,
        }
        if content is not None:
            about |= {'steps': progress.step, 'identities': content.get('num_identities', 0)}
        write_whole(run.work_dir / 'config.yaml', config_text.dump(experiment.to_config()))
        results_file.write(run.work_dir, {**about, **results.to_dict()}, results.queries())
    return results


def is_fitted(content: Mapping[str, Any]) -> bool:
    """Reports whether the fitted values of a checkpoint, such as means of necks, match its weights.

    They do not in a checkpoint that a run wrote before evaluating it.
    """
    return content.get('fitted_step') == content.get('progress', {}).get('step') or bool(content.get('adapted'))


def _as_built(experiment: Experiment, samples: tuple[Sample, ...], evaluator: Evaluator) -> Any:
    """Builds a model without trainable parameters.

    Raises:
        VireidError: if it has trainable parameters or unfinished stages, or its initial weights were trained on test
            images.
    """
    identities = max(1, len({s.identity for s in samples}))
    model: Any = experiment.build_model(identities).eval()
    free = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    settings = experiment.training
    if experiment.stages and settings.init is None:
        given = f'stages: {", ".join(experiment.stages)} must be trained first'
        raise NotReady(given, todo='run vireid train, and set training.init to the checkpoint of the last stage')
    if settings.init is not None:
        fresh = settings.init_except
        seen = initialize_from(model, settings.init, settings.init_partial, identities=identities, fresh=fresh)[1]
        numbers = content_numbers(evaluator.samples, experiment.images, evaluator.read)
        require_unseen(evaluator.samples, seen, f'training.init: {settings.init}', numbers)
    if free:
        raise NotReady(
            f'{experiment.model.get("type", "the model")} has trainable parameters, such as {free[0]}',
            todo="give a checkpoint, vireid test CONFIG CHECKPOINT, or freeze all parameters, training.freeze=['*']",
        )
    return model


def _require_unseen(experiment: Experiment, dataset: Dataset, content: dict[str, Any], source: str | Path) -> None:
    """Raises if a checkpoint would be scored on identities or images that it was trained on.

    Raises:
        Mismatch: if it was trained on another split of this dataset, or on some of the test images.
    """
    split, trained_on = Dataset.split_name(dataset), content.get('split', '')
    if content['config'].get('dataset', {}).get('type') == experiment.dataset['type'] and trained_on != split:
        raise Mismatch(
            f'{source} was trained on {trained_on or "the only split"}, but the test is {split or "the only split"}: '
            'test identities may have been in training',
            todo='score it on its own split with --split',
        )
    if 'trained_on' in content:
        require_unseen(dataset.split('test'), content['trained_on'].numpy(), str(source))
