"""The trainer: the training loop, with checkpoints and evaluations."""

from __future__ import annotations

import functools
import signal
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from vireid.boundary import checkpoint, config_text
from vireid.boundary.writing import remove_parts, write_whole
from vireid.core.data.loader import BatchStream, WorkerDied
from vireid.core.registry.contracts import located, require_record
from vireid.core.scoring import results
from vireid.core.scoring.evaluator import Evaluation, Evaluator
from vireid.core.scoring.results import Results
from vireid.core.training.nonfinite import is_finite, not_finite
from vireid.core.training.run import Run, seed_step
from vireid.core.training.selection import Selection
from vireid.core.training.state import require_numbers, require_same_run, restore_step, state_of
from vireid.core.types import Batch
from vireid.interfaces import Model, Step
from vireid.runtime.lock import exclusive
from vireid.runtime.memory import within_memory
from vireid.runtime.processes import agreed, lost_process_errors, wait_for_all
from vireid.runtime.signals import Interrupted, Stop, interruptible

SMALLER = (
    'use a smaller batch (sampler.identities, visible, infrared), smaller images (images.size), or '
    '--precision bf16-mixed'
)


@dataclass(frozen=True)
class Setup:
    """Everything a trainer needs; created by `launch.prepare`.

    Attributes:
        run: the run, with its model.
        fabric: the launched Fabric: devices and processes.
        hooks: the callbacks.
        step: updates the model on one batch.
        batches: the training batches.
        evaluator: scores the final weights.
        candidates: scores the weights to select from; the same evaluator, or one on the validation split.
        selection: tracks the best weights.
        resume: the checkpoint to resume from.
    """

    run: Run
    fabric: Fabric
    hooks: Any
    step: Any
    batches: BatchStream
    evaluator: Evaluator
    candidates: Evaluator
    selection: Selection
    resume: str | Path | None = None


class Trainer:
    """Runs an experiment: `train` is the loop, the other methods are its operations.

    `vireid/launch/launch.py` builds its inputs. Fault handling is in separate files: `signals.py`, `loader.py` (loader
    processes that die), `nonfinite.py`, `checkpoint.py` (crashes while writing), `lock.py` (two runs in one folder).

    Args:
        setup: everything the run needs.
    """

    def __init__(self, setup: Setup) -> None:
        self.run, self.fabric, self.hooks, self.step = setup.run, setup.fabric, setup.hooks, setup.step
        self.batches, self.selection, self.resume = setup.batches, setup.selection, setup.resume
        self.evaluator, self.candidates = setup.evaluator, setup.candidates
        self.experiment, self.settings = setup.run.experiment, setup.run.experiment.training
        self.progress, self.stop = setup.run.progress, Stop()

    def train(self) -> Results:
        """Trains from the current position to the end of the run, with the configured checkpoints and evaluations.

        Returns:
            The evaluation of the final weights: the last ones, or those selected by `evaluation.select`.

        Raises:
            Interrupted: after Ctrl-C or another signal, once the checkpoint is written.
            VireidError: if the run cannot continue, for example because the loss is not finite or another process is
                lost.
        """
        with lost_process_errors(), ExitStack() as stack:
            if self.fabric.is_global_zero:
                self.run.work_dir.mkdir(parents=True, exist_ok=True)
                stack.enter_context(exclusive(self.run.work_dir))
                for folder in (self.run.work_dir, self.run.checkpoint.parent):
                    remove_parts(folder)
                self._write_start()
            if self.resume is None:
                self.save()  # so that the run can be resumed at any time
            self.hooks.run_started(run=self.run)
            finished = False
            try:
                with interruptible(self.stop):
                    final = self.run.results = self._loop()
                if self.fabric.is_global_zero:
                    self._write_result(final)
                wait_for_all()  # the caller may read the result in any process
                finished = True
            finally:
                self.hooks.run_ended(run=self.run, finished=finished)
        return final

    def _loop(self) -> Results:
        if self.progress.step == 0 and self.experiment.evaluation.before_training:
            self.evaluate()
        self._evaluate_if_due()  # the run may have stopped between saving and scoring
        while self.progress.step < self.progress.total_steps:
            try:
                batch = self.batches.next(self.progress, give_up=self._stops_alone)
            except WorkerDied as error:
                raise self._worker_failure(error) from error
            stopped = self.train_step(batch)
            epoch_ended = self.progress.step_in_epoch == 0
            if epoch_ended:
                Step.epoch_ended(self.step)(self.progress)
                self.hooks.epoch_ended(run=self.run, progress=self.progress)
            finished = self.progress.step == self.progress.total_steps
            if stopped or epoch_ended or finished or self._due(self.settings.checkpoint_every, self.progress.step):
                self.save()
            if stopped:
                wait_for_all()  # a launcher terminates the other processes as soon as one exits
                raise self._interrupted()
            self._evaluate_if_due()
        return self._evaluate_final()

    def train_step(self, batch: Batch) -> bool:
        """Updates the model on one batch and calls the hooks; returns whether the run was asked to stop.

        Raises:
            VireidError: if the loss or gradient is not finite, or the step returned an invalid record.
        """
        run = self.run
        run.note_unreadable(batch.unreadable)
        run.model.train()
        seed_step(run, self.progress, self.fabric.global_rank)
        count = sum(len(images) for images in batch.images.values())
        what = f'a training step on {count} images on {self.fabric.device}'
        with within_memory(what, SMALLER), located(run.model):
            record = self.step(self.fabric.to_device(batch), self.progress)
        require_record(record, self.experiment.step['type'])
        failed = not is_finite(record) and 'skipped' not in record
        failed, stopped = agreed(self.fabric.device, failed, bool(self.stop))
        if failed:
            raise not_finite(record, batch, run)
        self.progress = run.progress = self.progress.next()
        run.note_skipped(self.progress, record)
        self.hooks.step_ended(run=run, progress=self.progress, record=record)
        return bool(self.stop) if self.fabric.world_size == 1 else stopped  # a callback may have taken long

    def evaluate(self) -> None:
        """Scores the current weights as candidates for `evaluation.select`; saves them if they are the best."""
        with self._ema_weights():
            evaluation = self.candidates.evaluate(
                self.run, self.hooks, self.progress, variants=False, check_interrupt=self.check_interrupt
            )
        scores = self._record_evaluation(evaluation)
        if self.selection.on != 'last':
            if self.selection.is_best(scores, self.progress):
                self.save({'chosen': self.selection.text(), 'calibration': evaluation.calibration})
            self.save()  # records which weights are the best so far

    def _evaluate_final(self) -> Results:
        """Scores the final weights, with all configured variants."""
        evaluate = functools.partial(self.evaluator.evaluate, self.run, self.hooks, self.progress)
        if self.selection.on == 'last':
            with self._ema_weights():
                final = self._record_evaluation(evaluate(check_interrupt=self.check_interrupt))
            if Model.fit(self.run.model):
                self.save()  # with the fitted state
            return final
        self.evaluate()  # the last weights are candidates too
        wait_for_all()  # until rank 0 has written the best weights
        best = checkpoint.load(self.run.best)
        checkpoint.load_weights(self.run.model, best['model'], self.run.best)
        self.run.calibration = best.get('calibration')
        return self._record_evaluation(evaluate(weights=self.selection.text(), check_interrupt=self.check_interrupt))

    def _record_evaluation(self, evaluation: Evaluation) -> Results:
        """Records in the run what the evaluation fitted; returns the scores."""
        if evaluation.fitted_step is not None:
            self.run.fitted_step = evaluation.fitted_step
        if evaluation.similarity is not None:
            self.run.fitted = evaluation.similarity
        return evaluation.results

    def save(self, best: Mapping[str, Any] | None = None) -> None:
        """Writes the checkpoint of the run or, with the entries `best`, of its best weights; call it in every process.

        Raises:
            VireidError: if the weights are not finite, or the file cannot be written.
        """
        with self._ema_weights():
            self.run.share_unreadable()
            state = self.state_dict()
            require_numbers(self.run, state['model'], self.progress)
            if self.fabric.is_global_zero:
                # at least two best ones: until the next checkpoint refers to the new file, the previous one is current
                keep = max(self.settings.keep, 2 if best else 1)
                checkpoint.save(self.run.best if best else self.run.checkpoint, {**state, **(best or {})}, keep=keep)

    def state_dict(self) -> dict[str, Any]:
        """Returns the content of a checkpoint, as tensors and plain values."""
        return state_of(self.run, self.progress) | {'step': self.step.state_dict(), 'best': self.selection.best}

    def load_state_dict(self, content: dict[str, Any], source: str) -> None:
        """Resumes from the content of a checkpoint; `source` is its name in messages.

        Raises:
            VireidError: if it belongs to another run.
        """
        require_same_run(self.run, content, source)
        checkpoint.load_weights(self.run.model, content['model'], source)
        restore_step(self.step, content.get('step', {}), source)
        self.run.fitted_step = content.get('fitted_step')
        self.selection.best, self.run.seen = dict(content.get('best', {})), content['trained_on'].numpy()
        self.run.unreadable, self.run.skipped = list(content.get('unreadable', ())), list(content.get('skipped', ()))
        self.progress = self.run.progress = self.progress.at(content['progress']['step'])

    def check_interrupt(self) -> None:
        """Raises Interrupted in every process if any was asked to stop."""
        if agreed(self.fabric.device, bool(self.stop))[0]:
            raise self._interrupted()

    def _stops_alone(self) -> bool:
        """Returns whether to stop immediately; with several processes, all stop after the same step instead."""
        return bool(self.stop) and self.fabric.world_size == 1

    def _interrupted(self) -> Interrupted:
        return Interrupted(self.run.checkpoint, self.stop.number or signal.SIGTERM)

    def _worker_failure(self, error: WorkerDied) -> Exception:
        """Saves the run if this is its only process; returns the exception to raise."""
        place = f'the latest checkpoint is {self.run.checkpoint}'  # other processes are in a step and cannot save now
        if self.fabric.world_size == 1:
            self.save()
            if self._stops_alone():  # a signal to the process group terminates the workers too
                return self._interrupted()
            place = f'the run is saved in {self.run.checkpoint}'
        return WorkerDied(
            f'{error.given}, for the second time at step {self.progress.step + 1:,}; {place}',
            todo=f'{error.todo}, then repeat the command (vireid train: with --resume)',
        )

    def _write_start(self) -> None:
        if self.resume is not None:
            self.selection.bring_best(self.run.best, Path(self.resume).parent / self.run.best.name)
        (self.run.work_dir / results.FILE).unlink(missing_ok=True)  # a result marks a finished run
        write_whole(self.run.work_dir / 'config.yaml', config_text.dump(self.experiment.to_config()))

    def _write_result(self, final: Results) -> None:
        selected = self.selection.rule or 'weights at the end of training'
        results.write(self.run.work_dir, {**final.to_dict(), **self.run.about(), 'select': selected}, final.queries())
        if self.run.fitted is not None:
            scored = self.run.checkpoint if self.selection.on == 'last' else self.run.best
            checkpoint.amend(scored, {'similarity': self.run.fitted})

    def _ema_weights(self) -> AbstractContextManager[None]:
        """Returns a context in which the model has its EMA weights, if the step keeps any."""
        ema_weights = Step.ema_weights(self.step)
        return ema_weights() if ema_weights else nullcontext()

    def _due(self, every: int | None, done: int) -> bool:
        return every is not None and done % every == 0

    def _evaluate_if_due(self) -> None:
        within = 0 < self.progress.step < self.progress.total_steps
        if within and self.progress.step_in_epoch == 0 and self._due(self.settings.evaluate_every, self.progress.epoch):
            self.evaluate()
