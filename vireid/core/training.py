"""The training loop and the default step: batches in, updates, checkpoints and evaluations out."""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from vireid.core import checkpoint, config, results
from vireid.core.data import BatchLoader, EpochBatches, ImageSet, default_workers, preserved, training_loader
from vireid.core.errors import VireidError, did_you_mean
from vireid.core.experiment import Experiment
from vireid.core.registry import Components
from vireid.core.results import Results
from vireid.core.run import (
    Interrupted,
    Run,
    Scoring,
    agreed,
    exclusive,
    interruptible,
    make_fabric,
    require_finite,
    restore,
    save,
    telling,
)
from vireid.core.selection import Selection, ValidationSplit
from vireid.core.signatures import ArgumentsOf, Part, raise_all
from vireid.core.types import Batch, Progress


def train(experiment: Experiment, work_dir: str | Path, *, resume: str | Path | None = None) -> Results:
    """Trains, and scores the result.

    Args:
        experiment: what to train, on what, how.
        work_dir: gets `config.yaml`, `checkpoints/`, `result.json` and whatever the loggers write.
        resume: checkpoint to go on from.

    Returns:
        The evaluation of the final weights: the last ones, or those that `evaluation.select` chooses.

    Raises:
        VireidError: for anything the user can mend.
        Interrupted: after Ctrl-C, once the checkpoint is written.
    """
    settings = experiment.training_settings
    fabric = make_fabric(experiment)
    rehearse(experiment, fabric)
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
    read = experiment.build_reader('train', samples, telling(hooks, 'preparing training pictures'))
    data = ImageSet(samples, experiment.build_transform('train'), labels, experiment.seed, read)
    model = experiment.build_model(len(labels), pretrained=resume is None, steps_per_epoch=len(sampler))
    step = experiment.build_step(model, fabric)
    progress = Progress(0, 0, len(sampler), settings.total_steps(len(sampler)))
    run = Run(experiment, Path(work_dir), model, fabric.device, progress, samples, getattr(dataset, 'split_name', ''))
    if resume is not None:
        run.progress = restore(run, step, selection, checkpoint.load(resume), resume)
    workers = experiment.image_settings.workers
    batches = EpochBatches(sampler, fabric.global_rank, fabric.world_size)
    loader = training_loader(data, batches, default_workers(fabric.device) if workers is None else workers)
    with ExitStack() as stack:
        if fabric.is_global_zero:
            run.work_dir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(run.work_dir))
            (run.work_dir / results.FILE).unlink(missing_ok=True)  # of before: it tells what is finished
            (run.work_dir / 'config.yaml').write_text(config.dump(experiment.to_config()), encoding='utf-8')
            if resume is not None:
                selection.bring_best(run.best, Path(resume).parent / run.best.name)
        hooks.run_started(run=run)
        finished = False
        try:
            found = _loop(run, step, fabric, batches, loader, (scoring, candidates), selection, hooks)
            if fabric.is_global_zero:
                about: dict[str, Any] = {'people': len(labels), 'steps': run.progress.total_steps, 'split': run.split}
                about['select'] = selection.rule or 'weights at the end of training'
                about |= {'dataset': experiment.dataset, 'protocol_config': experiment.protocol}
                results.write(run.work_dir, {**found.to_dict(), **about})
            finished = True
        finally:
            hooks.run_ended(run=run, finished=finished)
    return found


def rehearse(experiment: Experiment, fabric: Fabric) -> None:
    """Builds all that needs no data, for nothing, so that what cannot be built stops a run before data is read.

    Raises:
        VireidError: for all that cannot be built.
    """
    problems = []
    built: list[nn.Module] = []

    def attempt(build: Callable[[], Any]) -> None:
        try:
            build()
        except VireidError as error:
            problems.append(error)

    attempt(experiment.build_protocol)
    attempt(experiment.build_reranker)
    attempt(lambda: _try_transforms(experiment, 'train'))
    attempt(lambda: _try_transforms(experiment, 'test'))
    attempt(lambda: built.append(experiment.build_model(2, pretrained=False)))
    if built and fabric.world_size == 1:  # several would have to agree on it
        attempt(lambda: _try_schedules(experiment.build_step(built[0], fabric)))
    raise_all(problems)


def _try_schedules(step: Any) -> None:
    """Moves the schedules of a step that is thrown away: torch looks at some arguments only then."""
    for schedule in [s for found in getattr(step, 'schedules', {}).values() for s in found]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # that the optimizer has not stepped
                schedule.step()
        except Exception as error:
            raise VireidError(
                f'step.schedule: {type(schedule).__name__} fails on its first move: {type(error).__name__}: {error}',
                todo='mend its arguments',
            ) from error


def _try_transforms(experiment: Experiment, part: str) -> None:
    """Builds the transforms `train` or `test` and puts a picture through them."""
    height, width = experiment.image_settings.size
    image = torch.zeros(3, 2 * height, width, dtype=torch.uint8)  # of a person's shape
    with preserved():
        for position, transform in enumerate(experiment.build_transform(part).transforms):
            try:
                image = transform(image)
            except Exception as error:  # torchvision looks at some arguments only now
                name = experiment.images[part][position]['type']
                raise VireidError(
                    f'images.{part}.{position}: {name} fails on a picture {_sizes(image)}: {error}',
                    todo='mend its arguments, or what comes before it',
                ) from error
    if image.shape != (3, height, width) or image.dtype != torch.float32:
        raise VireidError(
            f'images.{part} makes {_sizes(image)} of a picture',
            allowed=f'3 x {height} x {width} float32, as images.size says',
            todo='end with ToFloat and Normalize, and with the size that Resize and RandomCrop give',
        )


def _sizes(image: Any) -> str:
    return f'{" x ".join(map(str, image.shape))} {str(image.dtype).removeprefix("torch.")}'


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

    def evaluate() -> None:
        found = candidates.evaluate(run, hooks, progress, beside=False)
        if not choosing:
            return
        best = selection.is_best(found, progress)
        if best and fabric.is_global_zero:
            save(run, step, progress, selection, best=True)
        if fabric.is_global_zero:
            save(run, step, progress, selection)  # it remembers which weights are the best so far

    at_epoch_end = 0 < progress.step < progress.total_steps and progress.step_in_epoch == 0
    if at_epoch_end and due(settings.evaluate_every, progress.epoch):
        evaluate()  # the run may have stopped between saving and scoring; loggers have dropped this one
    with interruptible() as interrupted:
        while progress.step < progress.total_steps:
            batches.epoch, batches.start = progress.epoch, progress.step_in_epoch
            run.model.train()
            for batch in loader:
                record = step(fabric.to_device(batch), progress)
                require_finite(record, batch, run, fabric)
                progress = progress.next()
                hooks.step_ended(run=run, progress=progress, record=record)
                stop = agreed(fabric, bool(interrupted))
                if stop or progress.step == progress.total_steps or progress.step_in_epoch == 0:
                    break
                if due(settings.checkpoint_every, progress.step) and fabric.is_global_zero:
                    save(run, step, progress, selection)
            if progress.step_in_epoch == 0:
                step.epoch_ended(progress)
                hooks.epoch_ended(run=run, progress=progress)
            if fabric.is_global_zero:
                save(run, step, progress, selection)
            if stop:
                raise Interrupted(run.checkpoint)
            at_epoch_end = progress.step_in_epoch == 0 and progress.step < progress.total_steps
            if at_epoch_end and due(settings.evaluate_every, progress.epoch):
                evaluate()
    if not choosing:
        return final.evaluate(run, hooks, progress)
    evaluate()  # the last weights are among those to choose from
    fabric.barrier()  # until the first process has written the best ones
    return final.evaluate(run, hooks, progress, selection.load_best(run.model, run.best))


class SingleOptimizer:
    """One optimizer over named parameter groups, with schedules that multiply.

    Args:
        model: what is trained; its `weighter` adds the tasks up.
        fabric: places model and optimizer on devices.
        components: where optimizers and schedules are looked up.
        optimizer: config of a torch optimizer, such as dict(type='SGD', lr=0.01, momentum=0.9).
        groups: settings by name pattern, such as {'backbone.*': dict(lr=0.001)}; the first pattern that matches a
            parameter takes it, the rest get the optimizer's own settings.
        schedule: configs of torch schedules, applied one on top of the other, stepped once an epoch or, with
            by='step', once a step.
        clip_norm: largest norm of the gradient; None does not clip.

    Raises:
        VireidError: if a pattern matches no parameter.
    """

    def __init__(
        self,
        model: nn.Module,
        fabric: Fabric,
        components: Components,
        optimizer: Annotated[dict, Part('optimizers')],
        groups: Mapping[str, Annotated[dict, ArgumentsOf('optimizer', 'optimizers')]] | None = None,
        schedule: Sequence[Annotated[dict, Part('schedules', by=Literal['epoch', 'step'])]] = (),
        clip_norm: float | None = None,
    ) -> None:
        built = components.build(
            'optimizers', optimizer, where='step.optimizer', params=parameter_groups(model, groups or {})
        )
        for pattern, settings in (groups or {}).items():
            for key in settings:
                if key not in built.defaults:  # torch takes any key and uses none it does not know
                    raise VireidError(
                        f'step.groups.{pattern}.{key}: {optimizer["type"]} has no setting {key!r}'
                        f'{did_you_mean(key, built.defaults)}',
                        allowed=', '.join(built.defaults),
                    )
        if fabric.world_size > 1 and any(p.requires_grad for p in model.weighter.parameters()):  # type: ignore[union-attr]
            # the weighter works beside the wrapped model: its parameters would get no gradient in some steps
            raise VireidError(
                f'{type(model.weighter).__name__} learns its weights, which does not work with '
                f'{fabric.world_size} processes yet',
                todo="train with --devices 1, or with model.weighter.type='Fixed' or 'WarmUp'",
            )
        self.fabric, self.clip_norm = fabric, clip_norm
        # the schedules read the learning rates before Fabric wraps the optimizer
        self.schedules: dict[str, list[Any]] = {'epoch': [], 'step': []}
        for position, entry in enumerate(schedule):
            where = f'step.schedule.{position}'
            by = entry.get('by', 'epoch')
            if by not in self.schedules:
                raise VireidError(f'{where}.by is {by!r}', allowed="'epoch' or 'step'")
            rest = {key: value for key, value in entry.items() if key != 'by'}
            self.schedules[by].append(components.build('schedules', rest, where=where, optimizer=built))
        self.model: Any
        self.model, self.optimizer = fabric.setup(model, built)
        self.model.mark_forward_method('embed')
        # a buffer of the model, read once a step: avoid walking through Fabric's wrapper each time
        self._weighter: Any = model.weighter

    def __call__(self, batch: Batch, progress: Progress) -> dict[str, Any]:
        """Updates the model on one batch.

        Returns:
            `loss`; by task `tasks` and `weights`; the weighter's own `curves`, such as `sigma`, by task; `lr` of the
            parameters that no pattern of `groups` took. All plain floats.
        """
        tasks: dict[str, Tensor] = self.model(batch)
        total, weights = self._weighter(tasks, progress)
        curves = self._weighter.curves() if hasattr(self._weighter, 'curves') else {}  # as they are in this step
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(total)
        if self.clip_norm is not None:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.clip_norm, error_if_nonfinite=False)
        lr = self.optimizer.param_groups[-1]['lr']
        self.optimizer.step()
        for schedule in self.schedules['step']:
            schedule.step()
        groups = [{'loss': total}, tasks, weights, *curves.values()]
        flat = [value.detach().float() for group in groups for value in group.values()]
        values = iter(torch.stack(flat).tolist())  # one transfer from the device for all figures
        loss, by_task, by_weight, *rest = [{name: next(values) for name in group} for group in groups]
        return {
            'loss': loss['loss'],
            'tasks': by_task,
            'weights': by_weight,
            'curves': dict(zip(curves, rest, strict=True)),
            'lr': float(lr),
        }

    def epoch_ended(self, progress: Progress) -> None:
        """Moves the schedules that count epochs."""
        for schedule in self.schedules['epoch']:
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Returns optimizer and schedules as tensors and plain values."""
        return {
            'optimizer': self.optimizer.state_dict(),
            'schedules': {by: [_plain_state(s) for s in found] for by, found in self.schedules.items()},
        }

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


def parameter_groups(model: nn.Module, patterns: Mapping[str, dict]) -> list[dict]:
    """Sorts the trainable parameters into groups by name pattern; the rest come last.

    Raises:
        VireidError: if a pattern matches no parameter that an earlier one has not taken.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    groups = []
    for pattern, settings in patterns.items():
        names = fnmatch.filter(named, pattern)
        if not names:
            tops = sorted({name.split('.')[0] for name, _ in model.named_parameters()})
            raise VireidError(
                f'step.groups: the pattern {pattern!r} matches no parameter',
                allowed='patterns such as ' + ', '.join(f'{top}.*' for top in tops),
            )
        groups.append({'params': [named.pop(name) for name in names], **settings})
    if named:
        groups.append({'params': list(named.values())})
    return groups


def _plain_state(schedule: Any) -> dict[str, Any]:
    """The part of a schedule's state that moves; the rest is rebuilt from the config."""
    state = {k: v for k, v in schedule.state_dict().items() if isinstance(v, (int, float, list))}
    return {k: v for k, v in state.items() if not isinstance(v, list) or all(isinstance(x, (int, float)) for x in v)}
