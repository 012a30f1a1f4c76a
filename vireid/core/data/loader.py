"""Loaders of batches, for training and for scoring."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader

from vireid.core.data.image_set import ImageSet, Key, collate
from vireid.core.errors import VireidError
from vireid.core.signals import SIGNALS
from vireid.core.types import Batch, Progress, Sampler


class EpochBatches:
    """The batch sampler of the training loader: `epoch` and `start` say what the next iteration yields.

    One loader serves all epochs, so its workers live on; each key carries all that determines the item.
    """

    def __init__(self, sampler: Sampler, rank: int = 0, world_size: int = 1) -> None:
        self.sampler, self.rank, self.world_size = sampler, rank, world_size
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        return len(self.sampler) - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.epoch
        position = 0
        for number, batch in enumerate(self.sampler.batches(epoch)):
            if number >= self.start:
                # positions differ between processes too, so that their augmentation does
                first = position * self.world_size + self.rank
                yield [(epoch, first + slot * self.world_size, index) for slot, index in enumerate(batch)]
            position += len(batch)


class WorkerDied(VireidError):
    """A loader process ended by itself, or was ended: out of memory, say."""


class BatchLoader(DataLoader):
    """torch's loader over an `ImageSet`, raising here what reading an image raised in a worker.

    A worker's death is noticed where its batch is waited for, and nowhere else: torch's own signal handler would raise
    at whatever line the main process has come to, in the middle of a step or of a checkpoint.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        try:
            with _keeping_child_signals():
                batches = super().__iter__()  # of workers that live on, which may have died meanwhile
            while True:
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                if isinstance(batch, VireidError):
                    raise batch
                yield batch
        except (RuntimeError, ConnectionError, EOFError) as error:
            if not self.num_workers or not _is_death(error):
                raise
            self._iterator = None  # the next iteration starts new workers
            raise WorkerDied(
                f'a process that reads images died: {str(error).splitlines()[0] if str(error) else "it is gone"}',
                todo='give it more memory, or fewer processes (images.workers=1)',
            ) from error


def _is_death(error: Exception) -> bool:
    """Tells the end of a loader process from what a transform raised in it, which torch quotes."""
    text = str(error)
    if isinstance(error, RuntimeError):
        return text.startswith('DataLoader worker (pid')
    return not text.startswith('Caught ')  # the images' way from there to here broke off


@contextmanager
def _keeping_child_signals() -> Iterator[None]:
    """Puts the handler of children's deaths back that was there before the block."""
    number = getattr(signal, 'SIGCHLD', None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield  # where there is none, or where torch sets none
        return
    before = signal.getsignal(number)
    try:
        yield
    finally:
        if before is not None:  # None: set by something that is not Python
            signal.signal(number, before)


def training_loader(data: ImageSet, order: EpochBatches, workers: int) -> BatchLoader:
    """Returns the loader of training batches; set `order.epoch` and `.start` before iterating."""
    return _loader(data, order, workers, persistent_workers=workers > 0)


class BatchStream:
    """The training batches of a run, in order, from any step on.

    A batch whose loader process died is read again, once.

    Args:
        data: what is read.
        sampler: which images each batch has.
        workers: loader processes.
        rank: which of `world_size` processes this is.
        world_size: number of processes.
    """

    def __init__(self, data: ImageSet, sampler: Sampler, workers: int, rank: int = 0, world_size: int = 1) -> None:
        self._order = EpochBatches(sampler, rank, world_size)
        self._loader = training_loader(data, self._order, workers)
        self._sampler = type(sampler).__name__
        self._batches: Iterator[Batch] | None = None
        self._died_at = -1

    def next(self, progress: Progress, give_up: Callable[[], bool] = lambda: False) -> Batch:
        """Returns the batch of the step that follows `progress`; calls go on from step to step.

        Raises:
            WorkerDied: if a loader process died twice at this step, or once if `give_up` says so then.
            VireidError: if an image cannot be read, or the sampler makes fewer batches than its length says.
        """
        while True:
            if self._batches is None or progress.step_in_epoch == 0:
                self._order.epoch, self._order.start = progress.epoch, progress.step_in_epoch
                self._batches = iter(self._loader)
            try:
                return next(self._batches)
            except StopIteration:
                raise VireidError(
                    f'sampler: {self._sampler} made fewer batches of epoch {progress.epoch + 1} than the '
                    f'{progress.steps_per_epoch} that its length says',
                    todo='fix its batches() or its __len__()',
                ) from None
            except WorkerDied as error:
                self._batches = None
                if give_up() or self._died_at == progress.step:
                    raise
                self._died_at = progress.step
                print(f'warning: {error.given}; its batch is read again', file=sys.stderr)


def evaluation_loader(data: ImageSet, batches: Sequence[Sequence[Any]], workers: int) -> BatchLoader:
    """Returns a loader of given batches, in order; each of indices of samples or of keys."""
    return _loader(data, batches, workers)


def _loader(data: ImageSet, batches: Any, workers: int, **options: Any) -> BatchLoader:
    return BatchLoader(
        data,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=_worker_started,
        generator=torch.Generator(),  # the loader's own draw must not move the generator the model uses
        **options,
    )


def default_workers(device: torch.device | str) -> int:
    """Loader processes for a network on `device`: none on the CPU, else one less than the cores, at most 8.

    A network on the CPU keeps all cores busy, and one worker beside it makes its threads wait for each other at every
    layer: 0.34 s a step became 3.0 s on two cores.
    """
    if torch.device(device).type == 'cpu':
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return min(8, max(1, cores - 1))


def _worker_started(worker: int) -> None:
    # signals may reach the whole process group, and the main process decides when the workers stop; but for SIGTERM, by
    # which it stops them
    for number in SIGNALS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
