"""From files to batches: decoding, seeded augmentation, collation, loaders.

Augmentation is a function of (seed, epoch, position in the epoch), never of a worker's history: any number of
workers gives the same batches, and a resumed run continues where it stopped.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from vireid.core.errors import VireidError
from vireid.core.stopping import SIGNALS
from vireid.core.types import Batch, Modality, Sample, Sampler, joint_order

Transform = Callable[[Tensor], Tensor]
Reader = Callable[[str], Tensor]  # path -> (3, H, W) uint8
Key = tuple[int, int, int]  # epoch, position in the epoch, index of the sample


def read_image(path: str | Path) -> Tensor:
    """Decodes a picture to (3, H, W) uint8.

    Grey pictures get three equal channels; 16-bit ones are scaled so that 65535 becomes 255.

    Raises:
        VireidError: if the file is missing, no picture, or truncated; the message names it.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith('I;16') or image.mode == 'I':
                array = (np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
                array = np.repeat(array[:, :, None], 3, axis=2)
            else:
                # a palette with a table of transparency: straight to RGB, Pillow warns that the table is lost
                through = 'RGBA' if image.mode == 'P' and 'transparency' in image.info else 'RGB'
                array = np.asarray(image.convert(through).convert('RGB'))
    except FileNotFoundError as error:
        raise VireidError(f'picture {path} is gone', todo='check the data folder') from error
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise VireidError(
            f'picture {path} cannot be read: {error}', todo='replace it, or take it out of the data folder'
        ) from error
    return torch.from_numpy(array.copy()).permute(2, 0, 1)


@contextmanager
def seeded(*key: object) -> Iterator[None]:
    """Makes random numbers (torch on CPU, numpy, random) a function of `key` inside the block; restores them after."""
    with preserved():
        reseed(*key)
        yield


def reseed(*key: object) -> int:
    """Makes random numbers (torch on CPU, numpy, random) a function of `key` from here on; returns the seed."""
    digest = hashlib.blake2b('/'.join(map(str, key)).encode(), digest_size=8).digest()
    value = int.from_bytes(digest, 'little')
    torch.default_generator.manual_seed(value)
    np.random.seed(value % 2**32)
    random.seed(value)
    return value


@contextmanager
def preserved() -> Iterator[None]:
    """Restores the state of all random numbers after the block."""
    states = torch.default_generator.get_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.default_generator.set_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


class ImageSet(TorchDataset):
    """Samples as transformed tensors.

    Args:
        samples: what to read.
        transform: (3, H, W) uint8 -> (3, h, w) float32.
        labels: label of each identity; the identity itself if None.
        seed: of the augmentation; None for evaluation, where the transform is to be deterministic.
        read: from a path to a picture; `read_image` if None.
        skip_bad: take another picture of the same person and modality for one that cannot be read.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        transform: Transform,
        labels: Mapping[int, int] | None = None,
        seed: int | None = None,
        read: Reader | None = None,
        skip_bad: bool = False,
    ) -> None:
        self.samples, self.transform, self.labels, self.seed = samples, transform, labels, seed
        self.read = read or read_image
        self.skip_bad, self._unreadable = skip_bad, list[str]()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key | int) -> tuple[Tensor, int, Sample]:
        with preserved():
            return self._get(key)

    def __getitems__(self, keys: Sequence[Key | int]) -> list[tuple[Tensor, int, Sample]] | VireidError:
        """Reads a whole batch; an error is handed on as a value, since torch rebuilds those a worker raises as text."""
        try:
            with preserved():  # once a batch: numpy's state alone takes 0.1 ms, a twentieth of a picture
                self._unreadable = []
                items = Items([self._get(key) for key in keys])
                items.unreadable = self._unreadable
                return items
        except VireidError as error:
            return error

    def _get(self, key: Key | int) -> tuple[Tensor, int, Sample]:
        epoch, position, index = key if isinstance(key, tuple) else (0, key, key)
        sample = self.samples[index]
        try:
            image = self.read(sample.path)
        except VireidError:
            if not self.skip_bad:
                raise
            sample, image = self._instead(index)
        if self.seed is not None:
            reseed(self.seed, epoch, position)
        image = self.transform(image)
        label = sample.identity if self.labels is None else self.labels[sample.identity]
        return image, label, sample

    def _instead(self, index: int) -> tuple[Sample, Tensor]:
        """Returns the next readable picture of the same person and modality; the same one every time."""
        bad = self.samples[index]
        self._unreadable.append(bad.path)
        for step in range(1, len(self.samples)):
            other = self.samples[(index + step) % len(self.samples)]
            if (other.identity, other.modality) == (bad.identity, bad.modality):
                try:
                    return other, self.read(other.path)
                except VireidError:
                    self._unreadable.append(other.path)
        raise VireidError(
            f'identity {bad.identity} has no {bad.modality} picture that can be read, such as {bad.path}',
            todo='replace one of them, or take the identity out of the training list',
        )


class Items(list):
    """What a batch is made of, and the pictures that others stand for."""

    unreadable: tuple[str, ...] | list[str] = ()


def collate(items: Sequence[tuple[Tensor, int, Sample]] | VireidError) -> Batch | VireidError:
    """Groups items by modality, keeping their order within each; hands an error on."""
    if isinstance(items, VireidError):
        return items
    groups: dict[Modality, list[tuple[Tensor, int, Sample]]] = {}
    for item in items:
        groups.setdefault(item[2].modality, []).append(item)
    order = joint_order(groups)
    first = items[0][0].shape
    for image, _, sample in items:
        if image.shape != first:
            return VireidError(
                f'after the transforms {items[0][2].path} is {tuple(first)} and {sample.path} is {tuple(image.shape)}',
                allowed='pictures of one size in a batch',
                todo="bring them to it, for example with dict(type='Resize') among images.train and images.test",
            )
    return Batch(
        images={m: torch.stack([image for image, _, _ in groups[m]]) for m in order},
        identities={m: torch.tensor([label for _, label, _ in groups[m]]) for m in order},
        cameras={m: torch.tensor([s.camera for _, _, s in groups[m]]) for m in order},
        paths={m: [s.path for _, _, s in groups[m]] for m in order},
        unreadable=list(getattr(items, 'unreadable', ())),
    )


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
    """torch's loader over an `ImageSet`, raising here what reading a picture raised in a worker.

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
                f'a process that reads pictures died: {str(error).splitlines()[0] if str(error) else "it is gone"}',
                todo='give it more memory, or fewer processes (images.workers=1)',
            ) from error


def _is_death(error: Exception) -> bool:
    """Tells the end of a loader process from what a transform raised in it, which torch quotes."""
    text = str(error)
    if isinstance(error, RuntimeError):
        return text.startswith('DataLoader worker (pid')
    return not text.startswith('Caught ')  # the pictures' way from there to here broke off


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


def training_loader(data: ImageSet, batches: EpochBatches, workers: int) -> BatchLoader:
    """Returns the loader of training batches; set `batches.epoch` and `.start` before iterating."""
    return BatchLoader(
        data,
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=_worker_started,
        generator=torch.Generator(),  # the loader's own draw must not move the generator the model uses
    )


def evaluation_loader(data: ImageSet, batches: Sequence[Sequence[int]], workers: int) -> BatchLoader:
    """Returns a loader of given batches of samples, in order."""
    return BatchLoader(
        data,
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=_worker_started,
        generator=torch.Generator(),
    )


def fingerprint(samples: Sequence[Sample]) -> np.ndarray:
    """Returns a (N,) int64 number for each picture's file, the same on every run."""
    folder = cache(os.path.realpath)  # of a few folders, not of each picture

    def digest(path: str) -> bytes:
        place = f'{folder(os.path.dirname(path))}/{os.path.basename(path)}'
        return hashlib.blake2b(place.encode(), digest_size=8).digest()

    return np.frombuffer(b''.join(digest(s.path) for s in samples), dtype=np.int64)


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
