"""The training loop and the default step: batches in, updates, checkpoints and evaluations out."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from lightning_fabric import Fabric
from torch import nn

from vireid.core.config import files as config
from vireid.core.config.experiment import Experiment
from vireid.core.data.image_checks import look_at_pictures
from vireid.core.data.image_set import ImageSet
from vireid.core.data.loader import BatchLoader, EpochBatches, WorkerDied, default_workers, training_loader
from vireid.core.distributed.batch_norm import synchronize_norms
from vireid.core.distributed.gather import mean_of
from vireid.core.distributed.processes import wait_for_all
from vireid.core.errors import VireidError, did_you_mean
from vireid.core.files import write_whole
from vireid.core.registry.components import Components
from vireid.core.registry.contracts import located, require_record, require_tasks
from vireid.core.registry.schema import ArgumentsOf, Component
from vireid.core.scoring import results
from vireid.core.scoring.evaluator import Scoring, telling
from vireid.core.scoring.results import Results
from vireid.core.signals import Interrupted, interruptible
from vireid.core.training import checkpoint, precision, provenance, updates
from vireid.core.training.preflight import preflight
from vireid.core.training.run import Run, agreed, exclusive, is_finite, make_fabric, not_finite, seed_step
from vireid.core.training.selection import Selection, ValidationSplit
from vireid.core.training.state import averaged, begin_with, restore, save, worker_died
from vireid.core.types import Batch, Progress


def train(
    experiment: Experiment,
    work_dir: str | Path,
    *,
    resume: str | Path | None = None,
    init: str | Path | None = None,
    partial: bool = False,
) -> Results:
    """Trains, and scores the result.

    Args:
        experiment: what to train, on what, how.
        work_dir: gets `config.yaml`, `checkpoints/`, `result.json` and whatever the loggers write.
        resume: checkpoint to go on from.
        init: checkpoint whose weights the model begins with; the run is a new one.
        partial: of `init`, take what fits, and say how much that is.

    Returns:
        The evaluation of the final weights: the last ones, or those that `evaluation.select` chooses.

    Raises:
        VireidError: for anything the user can mend.
        Interrupted: after Ctrl-C, once the checkpoint is written.
    """
    content = checkpoint.load(resume) if resume is not None else None
    chosen = precision.resolve(experiment.training, precision.of_checkpoint(content), resume)
    experiment = replace(experiment, training={**experiment.training, 'precision': chosen.name})
    settings = experiment.training_settings
    fabric = make_fabric(experiment)
    if fabric.is_global_zero:
        precision.warn_once(chosen)
    pretrained = resume is None and init is None
    preflight(experiment, pretrained)
    hooks = experiment.manager.observers(experiment.build_loggers() if fabric.is_global_zero else [])
    dataset = experiment.build_dataset()
    samples = tuple(dataset.split('train'))
    labels = {identity: label for label, identity in enumerate(sorted({s.identity for s in samples}))}
    sampler = experiment.build_sampler(samples, fabric.global_rank, fabric.world_size)
    # here, so that what the end of the run needs is checked at its start
    scoring = Scoring(experiment, dataset, hooks)
    candidates, persons = scoring, 0
    if experiment.evaluation_settings.select == 'validation':
        validation = ValidationSplit(dataset, samples)
        persons = len({s.identity for s in validation.split('val')})
        candidates = Scoring(experiment, validation, hooks, f' on {persons} validation persons')
    selection = Selection(experiment, persons)
    scored = (*scoring.samples, *candidates.samples)
    look_at_pictures(experiment, samples, scored, telling(hooks, 'looking at pictures'))
    read = experiment.build_reader('train', samples, telling(hooks, 'preparing training pictures'))
    skip = experiment.image_settings.on_bad_image == 'skip'
    data = ImageSet(samples, experiment.build_transform('train'), labels, experiment.seed, read, skip)
    model = experiment.build_model(len(labels), pretrained, len(sampler)).to(fabric.device)
    begun = begin_with(model, init, partial, fabric) if init is not None and resume is None else None
    if settings.sync_batchnorm and fabric.world_size > 1:
        # what follows the backbone sees all pictures already, if they are gathered
        synchronize_norms(model.backbone if getattr(model, 'across_ranks', False) else model)  # type: ignore[arg-type]
    if settings.compile:
        updates.compile_forward(model)
    step = experiment.build_step(model, fabric)
    progress = Progress(0, 0, len(sampler), settings.total_steps(len(sampler)))
    split = getattr(dataset, 'split_name', '')
    run = Run(experiment, Path(work_dir), model, fabric.device, progress, samples, split, chosen.reason)
    if content is not None:
        run.progress = restore(run, step, selection, content, str(resume))
        content = None  # as large as the model
    workers = experiment.image_settings.workers
    batches = EpochBatches(sampler, fabric.global_rank, fabric.world_size)
    loader = training_loader(data, batches, default_workers(fabric.device) if workers is None else workers)
    with ExitStack() as stack:
        if fabric.is_global_zero:
            run.work_dir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(run.work_dir))
            if resume is not None:
                selection.bring_best(run.best, Path(resume).parent / run.best.name)
            (run.work_dir / results.FILE).unlink(missing_ok=True)  # of before: it tells what is finished
            write_whole(run.work_dir / 'config.yaml', config.dump(experiment.to_config()))
            about = provenance.describe(experiment, samples, fabric.device)
            if resume is None:  # what began the run made it
                provenance.write(run.work_dir, {**about, 'init': begun})
            else:
                provenance.note_resumed(run.work_dir, about, run.progress.step)
        if resume is None:
            save(run, step, run.progress, selection)  # so that there is something to go on from at every moment
        hooks.run_started(run=run)
        finished = False
        try:
            made = _loop(run, step, fabric, batches, loader, (scoring, candidates), selection, hooks)
            if fabric.is_global_zero:
                about = {'people': len(labels), 'steps': run.progress.total_steps, 'split': run.split}
                about['select'] = selection.rule or 'weights at the end of training'
                about |= {'unreadable': run.unreadable, 'skipped_steps': run.skipped}
                about |= {'dataset': experiment.dataset, 'protocol_config': experiment.protocol}
                about |= {'precision': settings.precision, 'precision_reason': chosen.reason}
                results.write(run.work_dir, {**made.to_dict(), **about})
            wait_for_all()  # whoever comes next may read it
            finished = True
        finally:
            hooks.run_ended(run=run, finished=finished)
    return made


def _loop(
    run: Run,
    step: Any,
    fabric: Fabric,
    batches: EpochBatches,
    loader: BatchLoader,
    scorings: tuple[Scoring, Scoring],
    selection: Selection,
    hooks: Any,
) -> Results:
    """Trains from `run.progress` to the end, saving and scoring as the settings say."""
    settings, progress = run.experiment.training_settings, run.progress
    final, candidates = scorings
    choosing = selection.on != 'last'

    def due(every: int | None, done: int) -> bool:
        return every is not None and done % every == 0

    with interruptible() as stop:

        def look_up() -> None:
            if agreed(fabric, bool(stop))[0]:
                raise Interrupted(run.checkpoint, stop.number or signal.SIGTERM)

        def evaluate() -> None:
            with averaged(step):
                found = candidates.evaluate(run, hooks, progress, beside=False, look_up=look_up)
            if not choosing:
                return
            if selection.is_best(found, progress):
                save(run, step, progress, selection, best=True)
            save(run, step, progress, selection)  # it remembers which weights are the best so far

        at_epoch_end = 0 < progress.step < progress.total_steps and progress.step_in_epoch == 0
        if at_epoch_end and due(settings.evaluate_every, progress.epoch):
            evaluate()  # the run may have stopped between saving and scoring; loggers have dropped this one
        died_at = -1
        while progress.step < progress.total_steps:
            batches.epoch, batches.start = progress.epoch, progress.step_in_epoch
            run.model.train()
            stopped = stepped = False
            try:
                for batch in loader:
                    run.note_unreadable(batch.unreadable)
                    seed_step(run, progress, fabric.global_rank)
                    with located(run.model):
                        record = step(fabric.to_device(batch), progress)
                    require_record(record, run.experiment.step['type'])
                    failed = not is_finite(record) and 'skipped' not in record
                    failed, stopped = agreed(fabric, failed, bool(stop))
                    if failed:
                        raise not_finite(record, batch, run)
                    progress, stepped = progress.next(), True
                    run.note_skipped(progress, record)
                    hooks.step_ended(run=run, progress=progress, record=record)
                    stopped = bool(stop) if fabric.world_size == 1 else stopped  # an observer may have taken long
                    if stopped or progress.step == progress.total_steps or progress.step_in_epoch == 0:
                        break
                    if due(settings.checkpoint_every, progress.step):
                        save(run, step, progress, selection)
                else:
                    raise VireidError(
                        f'sampler: {run.experiment.sampler["type"]} made fewer batches of epoch {progress.epoch + 1} '
                        f'than the {progress.steps_per_epoch} that its length says',
                        todo='mend its batches() or its __len__()',
                    )
            except WorkerDied as error:
                # a signal to all processes ends the workers too; several have to agree on stopping, after a step
                stopped = bool(stop) and fabric.world_size == 1
                if not stopped:
                    if died_at == progress.step:
                        raise worker_died(run, step, progress, selection, error) from error
                    died_at = progress.step
                    print(f'warning: {error.given}; its batch is read again', file=sys.stderr)
                    continue
            if stepped and progress.step_in_epoch == 0:
                getattr(step, 'epoch_ended', lambda progress: None)(progress)
                hooks.epoch_ended(run=run, progress=progress)
            save(run, step, progress, selection)
            if stopped:
                wait_for_all()  # a launcher ends the others as soon as one has left
                raise Interrupted(run.checkpoint, stop.number or signal.SIGTERM)
            at_epoch_end = progress.step_in_epoch == 0 and progress.step < progress.total_steps
            if at_epoch_end and due(settings.evaluate_every, progress.epoch):
                evaluate()
        if not choosing:
            with averaged(step):
                return final.evaluate(run, hooks, progress, look_up=look_up)
        evaluate()  # the last weights are among those to choose from
        wait_for_all()  # until the first process has written the best ones
        weights = selection.load_best(run.model, run.best)
        return final.evaluate(run, hooks, progress, weights, look_up=look_up)


class SingleOptimizer:
    """One optimizer over named parameter groups, with schedules that multiply.

    Args:
        model: what is trained; its `weighter` adds the tasks up, or they are summed if it has none.
        fabric: places model and optimizer on devices.
        components: where optimizers and schedules are looked up.
        optimizer: config of a torch optimizer, such as dict(type='SGD', lr=0.01, momentum=0.9).
        groups: settings by name pattern, such as {'backbone.*': dict(lr=0.001)}; the first pattern that matches a
            parameter takes it, the rest get the optimizer's own settings.
        schedule: configs of torch schedules, applied one on top of the other, stepped once an epoch or, with
            by='step', once a step.
        clip_norm: largest norm of the gradient; None does not clip.
        accumulate: parts that a batch is taken in, of whole identities each: less memory for the same step, but losses
            that compare pictures, and BatchNorm, see one part at a time.
        ema: share of the old average that is kept each step, such as 0.999: averaged weights are then scored and saved;
            None scores the weights themselves. BatchNorm's running figures are the newest ones.
        skip_nonfinite: steps that may be left out because their loss or gradient is not finite; the next one stops.

    Raises:
        VireidError: if a pattern matches no parameter, or a number is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        fabric: Fabric,
        components: Components,
        optimizer: Annotated[dict, Component('optimizers')],
        groups: Mapping[str, Annotated[dict, ArgumentsOf('optimizer', 'optimizers')]] | None = None,
        schedule: Sequence[Annotated[dict, Component('schedules', by=Literal['epoch', 'step'])]] = (),
        clip_norm: float | None = None,
        accumulate: int = 1,
        ema: float | None = None,
        skip_nonfinite: int = 0,
    ) -> None:
        if accumulate < 1:
            raise VireidError(f'accumulate is {accumulate}', allowed='an integer of at least 1')
        if ema is not None and not 0 < ema < 1:
            raise VireidError(f'ema is {ema}', allowed='a number between 0 and 1, such as 0.999, or None')
        if skip_nonfinite < 0:
            raise VireidError(f'skip_nonfinite is {skip_nonfinite}', allowed='an integer of at least 0')
        self._weighter: Any = getattr(model, 'weighter', None)
        # it works on losses that are averaged already, beside the wrapped model: its gradients are alike everywhere
        ignored = [f'weighter.{n}' for n, _ in self._weighter.named_parameters()] if self._weighter is not None else []
        model._ddp_params_and_buffers_to_ignore = ignored  # type: ignore[assignment]
        self.model: Any = fabric.setup_module(model)
        self.model.mark_forward_method('embed')
        built = components.build(
            'optimizers', optimizer, where='step.optimizer', params=updates.parameter_groups(model, groups or {})
        )
        for pattern, settings in (groups or {}).items():
            for key in settings:
                if key not in built.defaults:  # torch takes any key and uses none it does not know
                    raise VireidError(
                        f'step.groups.{pattern}.{key}: {optimizer["type"]} has no setting {key!r}'
                        f'{did_you_mean(key, built.defaults)}',
                        allowed=', '.join(built.defaults),
                    )
        self.fabric, self.clip_norm, self.accumulate = fabric, clip_norm, accumulate
        self.skip_nonfinite, self.skipped = skip_nonfinite, 0
        # the schedules read the learning rates before Fabric wraps the optimizer
        self.schedules: dict[str, list[Any]] = {'epoch': [], 'step': []}
        for position, entry in enumerate(schedule):
            where = f'step.schedule.{position}'
            by = entry.get('by', 'epoch')
            if by not in self.schedules:
                raise VireidError(f'{where}.by is {by!r}', allowed="'epoch' or 'step'")
            rest = {key: value for key, value in entry.items() if key != 'by'}
            self.schedules[by].append(components.build('schedules', rest, where=where, optimizer=built))
        self.optimizer: Any = fabric.setup_optimizers(built)
        self._average = updates.Average(model, ema) if ema is not None else None

    def __call__(self, batch: Batch, progress: Progress) -> dict[str, Any]:
        """Updates the model on one batch.

        Returns:
            `loss`; by task `tasks` and `weights`; the weighter's own `curves`, such as `sigma`, by task; `lr` of the
            parameters that no pattern of `groups` took; `gradient`, its norm before clipping, if that is looked at. All
            plain floats. If loss or gradient is not finite the model stays as it was, and `skipped` counts the
            steps that were left out, this one included, as long as any may be.
        """
        self.optimizer.zero_grad(set_to_none=True)
        buffers = updates.Buffers(self.model if self.skip_nonfinite else None)
        parts = [batch] if self.accumulate == 1 else updates.split_identities(batch, self.accumulate)
        size = sum(len(found) for found in batch.identities.values())
        figures: list[tuple[updates.Figures, float]] = []
        for number, part in enumerate(parts):
            share = sum(len(found) for found in part.identities.values()) / size  # 1 for a batch in one part
            with self.fabric.no_backward_sync(self.model, enabled=number < len(parts) - 1):
                made = self.model(part)
                require_tasks(made, self.model.module)
                tasks = mean_of(made)
                total, weights = updates.weighed(self._weighter, tasks, progress)
                curves = self._weighter.curves() if hasattr(self._weighter, 'curves') else {}
                self.fabric.backward(total if len(parts) == 1 else total * share)
            found = {'loss': {'loss': total}, 'tasks': tasks, 'weights': weights, **curves}
            figures.append((found, share))
        record = {**updates.plain_figures(figures), 'lr': float(self.optimizer.param_groups[-1]['lr'])}
        scaler, norm = getattr(self.fabric.strategy.precision, 'scaler', None), None
        if self.clip_norm is not None or self.skip_nonfinite:
            limit = math.inf if self.clip_norm is None else self.clip_norm
            norm = self.fabric.clip_gradients(self.model, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        overflow = updates.is_overflow(scaler, record['loss'], norm)
        if norm is not None and not overflow:
            record['gradient'] = float(norm)
        finite = is_finite(record)
        if finite:
            self.optimizer.step()  # which the scaler leaves out by itself, if there was an overflow
        elif scaler is not None and norm is not None:
            scaler.update()
        if finite and not overflow and self._average is not None:
            self._average.update()
        for schedule in self.schedules['step']:
            schedule.step()
        if not finite and self.skipped < self.skip_nonfinite:
            self.skipped += 1
            record['skipped'] = self.skipped
            buffers.restore()
        return record

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside the block the model holds the weights that are scored and saved."""
        if self._average is None:
            yield
            return
        with self._average.in_place():
            yield

    def epoch_ended(self, progress: Progress) -> None:
        """Moves the schedules that count epochs."""
        for schedule in self.schedules['epoch']:
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Returns optimizer and schedules as tensors and plain values."""
        state = {
            'optimizer': self.optimizer.state_dict(),
            'schedules': {by: [updates.plain_state(s) for s in found] for by, found in self.schedules.items()},
            'scaler': self.fabric.strategy.precision.state_dict(),  # of 16-mixed; empty otherwise
            'skipped': self.skipped,
        }
        return state if self._average is None else {**state, 'raw': self._average.raw()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned.

        Raises:
            VireidError: if it belongs to another optimizer, grouping or schedule.
        """
        counts = {by: len(found) for by, found in self.schedules.items()}
        if {by: len(found) for by, found in state['schedules'].items()} != counts:
            raise VireidError('the checkpoint has another schedule', todo='resume with the config of the run')
        try:
            self.optimizer.load_state_dict(state['optimizer'])
        except (ValueError, KeyError) as error:
            raise VireidError(
                f'the checkpoint has another optimizer: {error}', todo='resume with the config of the run'
            ) from error
        for by, found in self.schedules.items():
            for schedule, saved in zip(found, state['schedules'][by], strict=True):
                schedule.load_state_dict({**schedule.state_dict(), **saved})
        self.fabric.strategy.precision.load_state_dict(state.get('scaler', {}))
        self.skipped = int(state.get('skipped', 0))
        if self._average is not None:
            if 'raw' not in state:
                raise VireidError('the checkpoint has no averaged weights', todo='resume with the config of the run')
            self._average.restore(state['raw'])
