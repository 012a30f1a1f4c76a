"""Runs that a command trains one after the other, each in its own folder; finished ones are skipped."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vireid.boundary import checkpoint, config_text
from vireid.boundary.paths import inside
from vireid.boundary.plugin_files import code_digests
from vireid.boundary.writing import write_whole
from vireid.core.config.experiment import Experiment
from vireid.core.config.overrides import Overrides
from vireid.core.config.same_run import READING, changes, matches, named, read_sections, scoring
from vireid.core.registry.manager import Manager
from vireid.core.registry.signature import signature_of
from vireid.core.scoring import results
from vireid.core.training.run import RECORD
from vireid.errors import Changed, Conflict, Mismatch, NotFinite, VireidError
from vireid.exchange.evaluation import score_checkpoint
from vireid.launch import refit
from vireid.launch.fabric import make_fabric
from vireid.launch.launch import train
from vireid.launch.preflight import attempt_all, on_meta, preflight
from vireid.launch.resolve import Source, read, resolve
from vireid.launch.weights import newest, started_afresh
from vireid.reporting import result_file
from vireid.reporting.record import changed_plugins, read_provenance
from vireid.studies.bar import Bar

UNSTABLE = 'choose another --work-dir, and set step.clip_norm, a lower learning rate, or --precision 32-true'


@dataclass(frozen=True)
class Job:
    """A run to train.

    Attributes:
        label: prefix of its output lines.
        experiment: the experiment to train.
        folder: the folder of the run.
        before: the run before this one, if any: its weights initialize this run, or with `refit`, it selects the length
            of this run.
    """

    label: str
    experiment: Experiment
    folder: Path
    before: Job | None = None

    def weights(self) -> Path:
        """Returns the checkpoint with the final weights of the finished run."""
        experiment = self.experiment
        name = 'last' if experiment.refit is not None or experiment.evaluation.select == 'last' else 'best'
        return (self.folder / 'checkpoints' / f'{name}.pt').absolute()

    def has_started(self) -> bool:
        """Reports whether there is a checkpoint to resume from."""
        return bool(checkpoint.kept(self.folder / 'checkpoints' / 'last.pt'))


def make_job(experiment: Experiment, overrides: Overrides, folder: Path, label: str) -> Job:
    """Returns the job that trains an experiment after its stages, or after the first training of `refit`.

    These get subfolders.

    Args:
        experiment: the experiment, which is trained last.
        overrides: the overrides that it was resolved with; they apply to every stage.
        folder: the folder of the run.
        label: prefix of its output lines.

    Returns:
        The job of the experiment, linked to those before it.

    Raises:
        VireidError: if a stage cannot be resolved, or has stages itself.
    """
    if experiment.refit is not None:
        selection = Job(f'{label}, selection', _without_console(refit.first(experiment)), folder / refit.FOLDER)
        return Job(label, _without_console(experiment), folder, selection)
    before: Job | None = None
    for number, file in enumerate(experiment.stages, 1):
        stage = resolve(file, overrides, manager=experiment.manager)
        if stage.stages:
            raise Conflict(
                f'{file} has its own stages', todo=f'list all of them in stages of {experiment.name}, in order'
            )
        if before is not None and stage.training.init:
            raise Conflict(f'{file} sets training.init, but the previous stage initializes it', todo='remove it')
        place = folder / f'stage{number}_{stage.name}'
        before = Job(f'{label}, stage {number}, {stage.name}', _without_console(stage), place, before)
    return Job(label, _without_console(experiment), folder, before)


def make_last_stage(experiment: Experiment, overrides: Overrides, folder: Path) -> Job:
    """Returns the job of an experiment with stages, after checking all of them as far as possible without data.

    Args:
        experiment: the experiment.
        overrides: the overrides that it was resolved with.
        folder: the folder of the run.

    Raises:
        VireidError: if a stage cannot be resolved or built.
    """
    job = make_job(experiment, overrides, folder, experiment.name)
    job = replace(job, label=f'{job.label}, last stage')
    check_job(job)
    return job


def require_own_images(source: Source, overrides: Overrides, manager: Manager, what: str) -> None:
    """Raises if the splits of a dataset are fixed, unlike those of your own images.

    Args:
        source: the config.
        overrides: overrides of the config.
        manager: the plugins.
        what: the feature that reassigns identities to splits, for the message.

    Raises:
        Mismatch: if the dataset cannot reassign identities.
    """
    config = read(source, overrides, manager)
    name, known = config.sections.get('dataset', {}).get('type'), config.manager.components
    if name in known.names('datasets') and 'identities' not in signature_of(known.get('datasets', name)).parameters:
        raise Mismatch(
            f'{what} reassigns identities to splits, but the splits of {name} are fixed',
            allowed='Manifest and Folders, for your own images',
            todo='use a config such as vireid::own_few.py',
        )


def _without_console(experiment: Experiment) -> Experiment:
    """Removes the console logger, because commands with several runs show the progress themselves."""
    if all(logger['type'] != 'Console' for logger in experiment.loggers):
        return experiment
    kept = [logger for logger in experiment.to_config()['loggers'] if logger['type'] != 'Console']
    return experiment.with_overrides({'loggers': kept})


def check_job(job: Job) -> None:
    """Checks a run as far as possible without data, because hours of other runs may precede it.

    Raises:
        VireidError: if the run cannot be built.
    """
    if job.before is not None:
        check_job(job.before)
    if job.experiment.refit is not None:
        refit.second(job.experiment)
    elif job.before is not None:
        _check_weights(job, job.before)
    make_fabric(job.experiment.training)
    preflight(job.experiment, pretrained=not job.has_started(), trains=False)


def check_first(jobs: Sequence[Job], data: bool = False) -> None:
    """Checks one of several runs that differ only in their seed or split.

    Runs that have started need no pretrained weights, and finished runs need no data.

    Args:
        jobs: the runs.
        data: also check that the data exist.

    Raises:
        VireidError: if the run cannot be built, or its data are missing.
    """
    first = next((job for job in jobs if not job.has_started()), jobs[0])
    started = first.has_started() or (first.folder / results.FILE).exists()
    reading = [lambda: first.experiment.build_dataset().split('train')] if data and not started else []
    attempt_all(lambda: check_job(first), *reading)


def _check_weights(job: Job, before: Job) -> None:
    """Raises if a model that loads all weights of the previous stage does not match them."""
    if not job.experiment.training.init_partial:
        ours, theirs = (on_meta(functools.partial(j.experiment.build_model, 2, False)) for j in (job, before))
        try:
            fresh = job.experiment.training.init_except
            weights = started_afresh(theirs.state_dict(), ours.state_dict(), fresh)
            checkpoint.load_weights(ours, weights, f'stage {before.experiment.name}')
        except VireidError as error:
            todo = 'use the same network in both, or load only matching weights: training.init_partial=True'
            raise error.at('training.init', todo) from error


def finish(
    job: Job,
    data_may_move: bool = False,
    log: Callable[[str], None] = print,
    warn: Callable[[str], None] = print,
    every: float = 60.0,
) -> dict[str, Any]:
    """Trains or resumes a run unless it is finished, and returns its result.

    A finished run is scored again if only its protocol or its additional result rows have changed.

    Args:
        job: the run.
        data_may_move: whether the folder of the dataset may differ from that of an earlier start.
        log: called with a line for each run.
        warn: called with a line for each damaged checkpoint.
        every: seconds between two lines of progress if there is no terminal.

    Returns:
        The content of `result.json`, plus the path of the `queries` file.

    Raises:
        VireidError: if its folder holds a run of another config, or one of another state of a plugin file.
        Interrupted: after Ctrl-C, once its checkpoint is written.
    """
    folder, calibration, rescore = job.folder, None, False
    if job.experiment.refit is not None:  # its config then also works on its own
        experiment = refit.second(job.experiment)
    elif job.before is not None:
        experiment = job.experiment.with_overrides({'stages': [], 'training.init': str(job.before.weights())})
    else:
        experiment = job.experiment
    if (folder / 'config.yaml').is_file():
        path = inside(folder, 'config.yaml')
        changed = changes(
            experiment, read_sections(config_text.read_record(path), path), _may_change(job, data_may_move)
        )
        if not all(matches(key, scoring(experiment)) for key in changed):
            raise Changed(
                f'{folder} holds a run with another {named(changed)}',
                todo='use the settings of that run, or choose another --work-dir',
            )
        rescore = bool(changed)
    done = result_file.read(folder)
    if done is not None and (edited := changed_plugins(_provenance(folder), code_digests(experiment.plugins))):
        raise Changed(
            f'{", ".join(edited)} has changed since {folder} was trained with it',
            todo='choose another --work-dir for runs with the changed code, or restore the file',
        )
    if done is not None and not rescore:
        log(f'{_line(job.label, done)}  (finished before)')
        return _with_queries(done, folder)
    last = folder / 'checkpoints' / 'last.pt'
    if done is None and job.before is not None and not job.has_started():
        finish(job.before, data_may_move, log, warn, every)
    if done is None and job.experiment.refit is not None:
        experiment, calibration = selected(job)
    bar = Bar(job.label, every)
    try:
        if done is not None:
            scored = score_checkpoint(experiment, job.weights(), folder / 'test', callbacks=[bar])
            result = {**done, **scored.to_dict()}
            log(f'{_line(job.label, result)}  (trained before, scored again)')
            return _with_queries(result, folder / 'test')
        if trains(experiment):
            train(experiment, folder, resume=newest(last, warn), callbacks=[bar], calibration=calibration)
        else:
            score_checkpoint(experiment, None, folder, callbacks=[bar])
    except VireidError as error:
        todo = UNSTABLE if isinstance(error, NotFinite) else error.todo  # a started run keeps its settings
        raise error.reworded(f'{job.label}: {error.given}', allowed=error.allowed, todo=todo) from error
    trained = result_file.read(folder)
    assert trained is not None  # training writes it last
    log(_line(job.label, trained))
    return _with_queries(trained, folder)


def selected(job: Job) -> tuple[Experiment, dict[str, Any] | None]:
    """Returns the experiment of the second run of `refit`, and the calibration of the first, which is finished."""
    assert job.before is not None
    best = checkpoint.load(job.before.weights())
    return refit.second(job.experiment, best['progress']['step']), best.get('calibration')


def select(
    experiment: Experiment, folder: Path, log: Callable[[str], None] = print, warn: Callable[[str], None] = print
) -> tuple[Experiment, dict[str, Any] | None]:
    """Trains or resumes the first run of `refit`; returns what `selected` does.

    Args:
        experiment: an experiment with `refit`.
        folder: the folder of the second run.
        log: called with a line about what was selected.
        warn: called with a line for each damaged checkpoint.

    Raises:
        VireidError: as `finish` does, or if the second run cannot be built.
        Interrupted: after Ctrl-C, once the checkpoint is written.
    """
    job = make_job(experiment, Overrides(), folder, experiment.name)
    check_job(job)
    assert job.before is not None
    write_whole(folder / 'config.yaml', config_text.dump(experiment.to_config()))  # to resume
    done = finish(job.before, data_may_move=True, log=lambda line: None, warn=warn)
    log(f'{experiment.name}, selection: {done["weights"]}; now trained on the validation people too')
    return selected(replace(job, experiment=experiment))


def _provenance(folder: Path) -> dict[str, Any]:
    record = inside(folder, RECORD)
    return read_provenance(record) if record.is_file() else {}


def trains(experiment: Experiment) -> bool:
    """Returns whether the model has trainable parameters; one without, such as HOG, is evaluated as it is."""
    model = on_meta(functools.partial(experiment.build_model, 2, False))
    return any(parameter.requires_grad for parameter in model.parameters())


def _with_queries(result: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {**result, 'queries': folder / results.QUERIES}


def require_scored_as_configured(job: Job, result: Mapping[str, Any]) -> None:
    """Raises VireidError if a run was finished earlier with another protocol than that of its config."""
    if result['queries'].parent != job.folder:
        raise Changed(
            f'{job.folder} was finished earlier with other evaluation settings', todo='choose another --work-dir'
        )


def _may_change(job: Job, data_may_move: bool) -> set[str]:
    """Returns patterns of the settings that may differ between a run and its job."""
    keys = {*READING}
    if data_may_move:
        keys.add('dataset.root')
    if job.before is not None:
        # the folder may have moved; the first run selects the steps
        keys.add('training.init' if job.experiment.refit is None else 'training.steps')
    # the run records the resolved values
    keys |= {f'training.{n}' for n in ('precision', 'memory_format') if getattr(job.experiment.training, n) == 'auto'}
    return keys


def _line(label: str, result: dict[str, Any]) -> str:
    row = result['rows'][0]
    return f'{label:<40} rank-1 {100 * row["R1"]["mean"]:5.2f}  mAP {100 * row["mAP"]["mean"]:5.2f}'
