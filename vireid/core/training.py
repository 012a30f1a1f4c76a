"""The training loop and the default step: batches in, updates, checkpoints and evaluations out."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from vireid.core import checkpoint, config
from vireid.core.data import EpochBatches, ImageSet, default_workers, training_loader
from vireid.core.errors import VireidError
from vireid.core.evaluation import Results
from vireid.core.experiment import Experiment
from vireid.core.registry import Components
from vireid.core.run import Interrupted, Run, evaluate, interruptible, make_fabric, require_finite, restore, save
from vireid.core.types import Batch, Progress


def train(experiment: Experiment, work_dir: str | Path, *, resume: str | Path | None = None) -> Results:
    """Trains, and scores the result.

    Args:
        experiment: what to train, on what, how.
        work_dir: gets `config.yaml`, `checkpoints/` and whatever the loggers write.
        resume: checkpoint to go on from.

    Returns:
        The evaluation at the end.

    Raises:
        VireidError: for anything the user can mend.
        Interrupted: after Ctrl-C, once the checkpoint is written.
    """
    settings = experiment.training_settings
    fabric = make_fabric(experiment)
    dataset = experiment.build_dataset()
    samples = tuple(dataset.split('train'))
    labels = {identity: label for label, identity in enumerate(sorted({s.identity for s in samples}))}
    sampler = experiment.build_sampler(samples, fabric.global_rank, fabric.world_size)
    model = experiment.build_model(len(labels))
    step = experiment.build_step(model, fabric)
    progress = Progress(0, 0, len(sampler), settings.total_steps(len(sampler)))
    run = Run(experiment, Path(work_dir), model, fabric.device, progress, samples, getattr(dataset, 'split_name', ''))
    if resume is not None:
        progress = run.progress = restore(run, step, checkpoint.load(resume), resume)
    if fabric.is_global_zero:
        run.work_dir.mkdir(parents=True, exist_ok=True)
        (run.work_dir / 'config.yaml').write_text(config.dump(experiment.to_config()), encoding='utf-8')
    hooks = experiment.manager.observers(experiment.build_loggers() if fabric.is_global_zero else [])

    workers = experiment.image_settings.workers
    batches = EpochBatches(sampler, fabric.global_rank, fabric.world_size)
    data = ImageSet(samples, experiment.build_transform('train'), labels, experiment.seed)
    loader = training_loader(data, batches, default_workers(fabric.device) if workers is None else workers)
    results: Results | None = None
    hooks.run_started(run=run)
    with interruptible() as interrupted:
        while progress.step < progress.total_steps:
            batches.epoch, batches.start = progress.epoch, progress.step_in_epoch
            model.train()
            for batch in loader:
                record = step(fabric.to_device(batch), progress)
                require_finite(record, batch, run)
                progress = progress.next()
                hooks.step_ended(run=run, progress=progress, record=record)
                due = settings.checkpoint_every and progress.step % settings.checkpoint_every == 0
                if due and progress.step_in_epoch != 0 and fabric.is_global_zero:
                    save(run, step, progress)
                if interrupted or progress.step == progress.total_steps:
                    break
            if progress.step_in_epoch == 0:
                step.epoch_ended(progress)
                hooks.epoch_ended(run=run, progress=progress)
            if fabric.is_global_zero:
                save(run, step, progress)
            if interrupted:
                hooks.run_ended(run=run, finished=False)
                raise Interrupted(run.checkpoint)
            every = settings.evaluate_every
            due = every and progress.step_in_epoch == 0 and progress.epoch % every == 0
            if due or progress.step == progress.total_steps:
                results = evaluate(run, step.model, dataset, hooks, progress)
    if results is None:  # resumed at the very end
        results = evaluate(run, step.model, dataset, hooks, progress)
    hooks.run_ended(run=run, finished=True)
    return results


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
        optimizer: dict,
        groups: Mapping[str, dict] | None = None,
        schedule: Sequence[dict] = (),
        clip_norm: float | None = None,
    ) -> None:
        built = components.build(
            'optimizers', optimizer, where='step.optimizer', params=parameter_groups(model, groups or {})
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
            `loss`, and by task `tasks` and `weights`, and `lr` of the first group, all plain floats.
        """
        tasks: dict[str, Tensor] = self.model(batch)
        total, weights = self._weighter(tasks, progress)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(total)
        if self.clip_norm is not None:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.clip_norm, error_if_nonfinite=False)
        lr = self.optimizer.param_groups[0]['lr']
        self.optimizer.step()
        for schedule in self.schedules['step']:
            schedule.step()
        names = list(tasks)
        # one transfer from the device for all figures
        figures = torch.stack([total, *tasks.values(), *(weights[n] for n in names)]).detach().float().tolist()
        count = len(names)
        return {
            'loss': figures[0],
            'tasks': dict(zip(names, figures[1 : count + 1], strict=True)),
            'weights': dict(zip(names, figures[count + 1 :], strict=True)),
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
