"""Loaders of batches, for training and evaluation."""

from __future__ import annotations

import itertools
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.data import DataLoader

from vireid.core.data.image_set import ImageSet, Key, collate
from vireid.core.types import Batch, Progress, Sample
from vireid.errors import Mismatch, OutOfMemory, Unavailable, VireidError
from vireid.interfaces import Sampler
from vireid.runtime.signals import SIGNALS
from vireid.runtime.worker_processes import Sent, hide_lost_workers, start_method, start_server, started, starting

SHARED_MEMORY = 'increase /dev/shm (in Docker: docker run --shm-size=8g), or use no loader processes: images.workers=0'
# imported once for all workers, in this order
SERVER_IMPORTS = ('vireid.boundary.without_compiler', 'torchvision.transforms.v2', __name__)


class EpochBatches:
    """The batch sampler of the training loader; the next iteration yields the batches of the epoch from `progress` on.

    One loader serves all epochs, so that its workers persist; each key contains everything that determines the item.
    Positions count as if a single process drew the whole batch, so several processes augment images as one would.

    Args:
        sampler: draws the batches of this process.
        rank: rank of this process.
        world_size: number of processes.
        samples: the samples that the sampler draws from; needed with several processes.
    """

    def __init__(self, sampler: Sampler, rank: int = 0, world_size: int = 1, samples: Sequence[Sample] = ()) -> None:
        self.sampler, self.rank, self.world_size, self.samples = sampler, rank, world_size, samples
        self.progress = Progress(0, 0, len(sampler), len(sampler))

    def __len__(self) -> int:
        return len(self.sampler) - self.progress.step_in_epoch

    def __iter__(self) -> Iterator[list[Key]]:
        start = self.progress
        position = 0
        for number, batch in enumerate(self.sampler.batches(start.epoch)):
            if number >= start.step_in_epoch:
                at = start._replace(step=start.step - start.step_in_epoch + number)
                yield [(at, position + place, index) for place, index in zip(self._places(batch), batch, strict=True)]
            position += len(batch) * self.world_size

    def _places(self, batch: Sequence[int]) -> Iterable[int]:
        """Returns the place of each image in the batch of all processes: by modality, then by process."""
        if self.world_size == 1:
            return range(len(batch))
        modalities = [self.samples[index].modality for index in batch]
        places: dict[str, Iterator[int]] = {}
        before = 0
        for modality, count in Counter(modalities).items():  # in order of appearance
            places[modality] = itertools.count(before * self.world_size + self.rank * count)
            before += count
        return [next(places[modality]) for modality in modalities]


class WorkerDied(Unavailable):
    """A loader process crashed or was killed, for example for lack of memory."""


class BatchLoader(DataLoader):
    """A torch loader over an `ImageSet` that raises errors from workers in the main process.

    If a worker dies, the error is raised only where its batch is awaited. torch's signal handler would raise it at any
    line of the main process, even in the middle of a step or a checkpoint.
    """

    def __init__(
        self, data: ImageSet, batches: Any, workers: int, device: torch.device | None = None, **options: Any
    ) -> None:
        method = start_method() if workers else None
        if method == 'forkserver':
            start_server(SERVER_IMPORTS, SIGNALS)
        if pin_memory := device is not None and device.type == 'cuda':
            hide_lost_workers()
        super().__init__(
            data if method in (None, 'fork') else Sent(data),  # type: ignore[arg-type]
            batch_sampler=batches,
            collate_fn=_collate_in_worker if workers else collate,
            num_workers=workers,
            multiprocessing_context=method,
            worker_init_fn=_worker_started,
            generator=torch.Generator(),  # so that the loader does not advance the model's generator
            pin_memory=pin_memory,
            **options,
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        try:
            with starting(SIGNALS) if self.num_workers else nullcontext():
                batches = super().__iter__()  # persistent workers may have died in the meantime
            while True:
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                if isinstance(batch, VireidError):
                    try:
                        raise batch
                    finally:
                        del batch  # breaks a reference cycle with the frame, which would delay the workers' exit by 5 s
                yield batch
        except Exception as error:
            if not self.num_workers:
                raise
            text = str(error).partition('\n')[0].partition('. ')[0]
            if text.startswith('Caught '):  # raised by a transform; the text has its traceback
                self._iterator = batches = None  # type: ignore[assignment]  # ends the workers
                # torch's traceback is part of a cycle, which would delay their exit too
                raise error.with_traceback(None)  # noqa: B904
            if not isinstance(error, (RuntimeError, OSError, EOFError)):
                raise
            self._iterator = None  # the next iteration starts new workers
            died = 'died: ' if text.startswith('DataLoader worker (pid') else 'cannot be reached: '
            raise WorkerDied(f'a loader process {died}{text or "it is gone"}', todo=_todo(text)) from error


def _todo(text: str) -> str:
    """Returns what to do about the death of a worker, given the message of torch or the system."""
    if 'open files' in text:
        return 'raise the limit on open files (ulimit -n 1024), or use fewer processes (images.workers=1)'
    if 'Bus error' in text or 'No space left' in text:
        return SHARED_MEMORY
    return 'provide more memory, or use fewer processes (images.workers=1)'


def _collate_in_worker(items: Any) -> Batch | VireidError:
    """Collates into shared memory; torch would do so later, where a lack of memory blocks the main process."""
    batch = collate(items)
    try:
        for images in batch.images.values() if isinstance(batch, Batch) else ():
            images.share_memory_()
    except RuntimeError as error:
        return OutOfMemory(f'a batch does not fit into shared memory: {error}', todo=SHARED_MEMORY)
    return batch


def training_loader(
    data: ImageSet, order: EpochBatches, workers: int, device: torch.device | None = None
) -> BatchLoader:  # fmt: skip
    """Returns the loader of training batches for a device; set `order.progress` before iterating."""
    return BatchLoader(data, order, workers, device, persistent_workers=workers > 0)


class BatchStream:
    """The training batches of a run, in order, starting at any step.

    If a loader process dies, its batch is read once more.

    Args:
        data: the images.
        sampler: draws the images of each batch.
        workers: number of loader processes.
        rank: rank of this process.
        world_size: number of processes.
        device: device that the batches will be sent to; for a GPU, they are in page-locked memory.
        finish: completes each batch in the main process, for example on a GPU.
    """

    def __init__(
        self, data: ImageSet, sampler: Sampler, workers: int, rank: int = 0, world_size: int = 1,
        device: torch.device | None = None, finish: Callable[[Batch], Batch] = lambda batch: batch,
    ) -> None:  # fmt: skip
        self._finish = finish
        self._data, self._order = data, EpochBatches(sampler, rank, world_size, data.samples)
        self._loader = training_loader(data, self._order, workers, device)
        self._sampler = type(sampler).__name__
        self._batches: Iterator[Batch] | None = None
        self._died_at = -1

    def first(self) -> Batch:
        """Returns the first batch of the run, read in this process; `next` still starts with it."""
        order, steps = self._order, len(self._order.sampler)
        stream = BatchStream(self._data, order.sampler, 0, order.rank, order.world_size, finish=self._finish)
        return stream.next(Progress(0, 0, steps, steps))

    def next(self, progress: Progress, give_up: Callable[[], bool] = lambda: False) -> Batch:
        """Returns the batch of the step after `progress`; consecutive calls must be for consecutive steps.

        Raises:
            WorkerDied: if a loader process died twice at this step, or once and `give_up()` is true.
            VireidError: if an image cannot be read, or the sampler returns fewer batches than its length.
        """
        while True:
            if self._batches is None or progress.step_in_epoch == 0:
                self._order.progress = progress
                self._batches = iter(self._loader)
            try:
                batch = next(self._batches)
                batch.progress = progress
                return self._finish(batch)
            except StopIteration:
                raise Mismatch(
                    f'sampler: {self._sampler} returned fewer batches for epoch {progress.epoch + 1} than its length '
                    f'{progress.steps_per_epoch}',
                    todo='fix its batches() or __len__()',
                ) from None
            except WorkerDied as error:
                self._batches = None
                if give_up() or self._died_at == progress.step:
                    raise
                self._died_at = progress.step
                print(f'warning: {error.given}; its batch is read again', file=sys.stderr)


def evaluation_loader(
    data: ImageSet, batches: Sequence[Sequence[Any]], workers: int, device: torch.device | None = None
) -> BatchLoader:
    """Returns a loader, for a device, of the given batches, in order; each is a list of sample indices or keys."""
    return BatchLoader(data, batches, min(workers, len(batches)), device)


class Batches:
    """Batches of images, in order. Each iteration reads them again, and survives the death of one loader process.

    Args:
        data: the images.
        chunks: sample indices or keys of each batch.
        workers: number of loader processes.
        device: device to move the batches to; None leaves them on the CPU.
        on_batch: called with the number of batches that the caller has finished.
    """

    def __init__(
        self,
        data: ImageSet,
        chunks: Sequence[Sequence[Any]],
        workers: int = 0,
        device: torch.device | None = None,
        on_batch: Callable[[int], None] = lambda done: None,
    ) -> None:
        self._data, self._chunks, self._workers, self._device, self._on_batch = data, chunks, workers, device, on_batch

    def __iter__(self) -> Iterator[Batch]:
        from lightning_fabric.utilities import move_data_to_device  # not needed by loader processes

        done = 0
        self._on_batch(done)
        for again in (False, True):
            try:
                for batch in evaluation_loader(self._data, self._chunks[done:], self._workers, self._device):
                    done += 1
                    yield batch if self._device is None else move_data_to_device(batch, self._device)
                    self._on_batch(done)
                return
            except WorkerDied as error:
                if again:
                    raise
                print(f'warning: {error.given}; its batch is read again', file=sys.stderr)


def default_workers(device: torch.device | str) -> int:
    """Returns the number of loader processes: 0 on the CPU, else the number of cores minus 1, at most 8.

    A network on the CPU keeps all cores busy. With an additional worker, its threads wait for each other at every
    layer, which slowed a step from 0.34 s to 3.0 s on two cores.
    """
    if torch.device(device).type == 'cpu':
        return 0
    return min(8, max(1, usable_cores() - 1))


def usable_cores() -> int:
    """Returns the number of CPU cores for this process; a launcher of parallel runs sets it in VIREID_CORES."""
    given = os.environ.get('VIREID_CORES', '')
    if given.isdecimal() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if sys.platform == 'linux' else os.cpu_count() or 1


def _worker_started(worker: int) -> None:
    # signals may reach the whole process group, but the main process decides when workers stop
    started(SIGNALS)
    torch.set_num_threads(1)
