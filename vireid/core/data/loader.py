"""Loaders of batches, for training and for scoring."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.data import DataLoader

from vireid.boundary.worker_processes import Sent, start_method, start_server, started, starting
from vireid.core.data.image_set import ImageSet, Key, collate
from vireid.core.errors import VireidError
from vireid.core.signals import SIGNALS
from vireid.core.types import Batch, Progress
from vireid.interfaces import Sampler

SHARED_MEMORY = 'enlarge /dev/shm (of a container: docker run --shm-size=8g), or read by no process: images.workers=0'
SERVER_IMPORTS = ('torchvision.transforms.v2', __name__)  # what all workers need


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

    def __init__(self, data: ImageSet, batches: Any, workers: int, **options: Any) -> None:
        method = start_method() if workers else None
        if method == 'forkserver':
            start_server(SERVER_IMPORTS, SIGNALS)
        super().__init__(
            data if method in (None, 'fork') else Sent(data),  # type: ignore[arg-type]
            batch_sampler=batches,
            collate_fn=_collate_in_worker if workers else collate,
            num_workers=workers,
            multiprocessing_context=method,
            worker_init_fn=_worker_started,
            generator=torch.Generator(),  # the loader's own draw must not move the generator the model uses
            **options,
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        try:
            with starting(SIGNALS) if self.num_workers else nullcontext():
                batches = super().__iter__()  # of workers that live on, which may have died meanwhile
            while True:
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                if isinstance(batch, VireidError):
                    try:
                        raise batch
                    finally:
                        del batch  # a circle of error and frame: freed by the collector, the workers end 5 s late
                yield batch
        except (RuntimeError, OSError, EOFError) as error:
            text = str(error).partition('\n')[0].partition('. ')[0]
            if not self.num_workers or text.startswith('Caught '):  # what a transform raised, which torch quotes
                raise
            self._iterator = None  # the next iteration starts new workers
            died = 'died: ' if text.startswith('DataLoader worker (pid') else 'cannot be reached: '
            raise WorkerDied(f'a process that reads images {died}{text or "it is gone"}', todo=_todo(text)) from error


def _todo(text: str) -> str:
    """Returns what helps against the end of a worker, by torch's or the system's words for it."""
    if 'open files' in text:
        return 'raise the limit of open files (ulimit -n 1024), or take fewer processes (images.workers=1)'
    if 'Bus error' in text or 'No space left' in text:
        return SHARED_MEMORY
    return 'give it more memory, or take fewer processes (images.workers=1)'


def _collate_in_worker(items: Any) -> Batch | VireidError:
    """Collates into shared memory: torch would do so later, where a lack of it leaves the main process waiting."""
    batch = collate(items)
    try:
        for images in batch.images.values() if isinstance(batch, Batch) else ():
            images.share_memory_()
    except RuntimeError as error:
        return VireidError(f'a batch finds no room in shared memory: {error}', todo=SHARED_MEMORY)
    return batch


def training_loader(data: ImageSet, order: EpochBatches, workers: int) -> BatchLoader:
    """Returns the loader of training batches; set `order.epoch` and `.start` before iterating."""
    return BatchLoader(data, order, workers, persistent_workers=workers > 0)


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
        self._data, self._order = data, EpochBatches(sampler, rank, world_size)
        self._loader = training_loader(data, self._order, workers)
        self._sampler = type(sampler).__name__
        self._batches: Iterator[Batch] | None = None
        self._died_at = -1

    def first(self) -> Batch:
        """Returns the first batch of the run, read by this process; `next` begins with it as ever."""
        order, steps = self._order, len(self._order.sampler)
        stream = BatchStream(self._data, order.sampler, 0, order.rank, order.world_size)
        return stream.next(Progress(0, 0, steps, steps))

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
    return BatchLoader(data, batches, workers)


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
    # signals may reach the whole process group, and the main process decides when the workers stop
    started(SIGNALS)
    torch.set_num_threads(1)
