"""Decoded images in one file, mapped into memory."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
from torch import Tensor

from vireid.core.data.images import read_image
from vireid.core.data.randomness import seeded
from vireid.core.errors import VireidError
from vireid.core.types import Sample

FORMAT = 1
AT_ONCE = 64  # images decoded before they are written


class ImageCache:
    """Keeps every image as it is after the first transform, as uint8, so that no epoch decodes and resizes it again.

    The first transform has to bring images to one size without chance and leave an image of that size alone
    (`Resize`, `ResizeScaled`); the transforms are then applied as ever, so what the network sees is what it sees
    without a cache, bit for bit.

    A cache belongs to a list of files with their sizes and times of change, to the transform's settings, and to the
    version of torchvision: anything else makes a new one, in place of an outdated one of the same files. It is built
    at the start, under a name of its own that is changed at the end, so that a crash leaves nothing that looks
    complete; a second process waits for the first one's.

    Args:
        samples: what it will be asked for.
        first: the first transform.
        first_config: what that was built from.
        folder: where caches lie; several may share it. Training images of SYSU-MM01 at 288 x 144 take 4.3 GB.
        on_progress: called with (done, total) images while it is built.

    Raises:
        VireidError: if the first transform does not fit, an image cannot be read, or the folder cannot be written.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        first: Callable[[Tensor], Tensor],
        first_config: Mapping[str, Any],
        folder: str,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        paths = sorted({s.path for s in samples})
        if not paths:
            raise VireidError('there is no image to cache')
        if not folder:
            raise VireidError("folder is ''", allowed='where the cache is to be, such as cache')
        self.shape = (len(paths), *_fixed_shape(first, first_config))
        self._index = {path: number for number, path in enumerate(paths)}
        settings = [FORMAT, dict(first_config), _source(first), torchvision.__version__, PIL.__version__]
        place, stamps = _digest([settings, [os.path.abspath(p) for p in paths]]), _stamps(paths)
        base = Path(folder).expanduser()
        self.file = base / f'{place}-{_digest(stamps)}.u8'
        try:
            base.mkdir(parents=True, exist_ok=True)
            if not self._is_whole():
                with _alone(base / f'.{place}.lock', lambda: self._tell_of_another(on_progress)) as alone:
                    if not self._is_whole():  # another process may have built it meanwhile
                        self._build(paths, first, on_progress, alone)
                        if _stamps(paths) != stamps:
                            self.file.unlink()
                            raise VireidError('images were changed while they were read', todo='start again')
        except OSError as error:
            raise VireidError(
                f'the image cache in {base} cannot be written: {error}',
                todo=f'free {self._bytes() / 1e9:.1f} GB there, name another folder, or leave images.reader out',
            ) from error
        # at once: another process may find the cache outdated and take it away
        self._images: np.ndarray | None = self._map()

    def __call__(self, path: str) -> Tensor:
        """Returns the image as (3, H, W) uint8."""
        if self._images is None:
            self._images = self._map()
        return torch.from_numpy(np.array(self._images[self._index[path]]))

    def __getstate__(self) -> dict[str, Any]:
        # a mapped file would be copied into the pickle
        return {**self.__dict__, '_images': None}

    def _map(self) -> np.ndarray:
        return np.memmap(self.file, dtype=np.uint8, mode='r', shape=self.shape)

    def _is_whole(self) -> bool:
        return self.file.is_file() and self.file.stat().st_size == self._bytes()

    def _bytes(self) -> int:
        return int(np.prod(self.shape))

    def _tell_of_another(self, on_progress: Callable[[int, int], None] | None) -> None:
        """Shows how far the process has come that builds what this one waits for."""
        if on_progress:
            parts = list(self.file.parent.glob(f'.{self.file.name}.*.part'))
            size = max((p.stat().st_size for p in parts if p.exists()), default=0)
            on_progress(min(self.shape[0] - 1, size * self.shape[0] // self._bytes()), self.shape[0])

    def _build(
        self,
        paths: Sequence[str],
        first: Callable[[Tensor], Tensor],
        on_progress: Callable[[int, int], None] | None,
        alone: bool,
    ) -> None:
        for left in self.file.parent.glob(f'.{self.file.name.split("-")[0]}-*.part'):
            if alone or time.time() - left.stat().st_mtime > 3600:  # of a process that was killed
                left.unlink(missing_ok=True)
        free = shutil.disk_usage(self.file.parent).free
        if free < self._bytes():
            raise OSError(f'{free / 1e9:.1f} GB are free and {self._bytes() / 1e9:.1f} GB are needed')
        part = self.file.with_name(f'.{self.file.name}.{uuid.uuid4().hex[:8]}.part')
        try:
            # written, not mapped: a full disk is an error here and would be a crash there
            with part.open('wb') as file, ThreadPoolExecutor() as pool:
                for start in range(0, len(paths), AT_ONCE):
                    if on_progress:
                        on_progress(start, len(paths))
                    some = paths[start : start + AT_ONCE]
                    for image in pool.map(lambda path: first(read_image(path)), some):
                        file.write(image.contiguous().numpy().tobytes())
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.file)
        finally:
            with suppress(OSError):
                part.unlink()
        if on_progress:
            on_progress(len(paths), len(paths))
        for outdated in self.file.parent.glob(f'{self.file.name.split("-")[0]}-*.u8'):
            if outdated != self.file:
                outdated.unlink(missing_ok=True)


def _fixed_shape(first: Callable[[Tensor], Tensor], config: Mapping[str, Any]) -> tuple[int, int, int]:
    """Tries the first transform on noise of two sizes; returns the (3, H, W) it makes of them."""
    outputs = []
    for seed, size in enumerate(((61, 37), (150, 80))):
        with seeded('image cache', seed):
            noise = torch.randint(256, (3, *size), dtype=torch.uint8)
            once = first(noise)
            with seeded('image cache', seed + 10):
                again, twice = first(noise), first(once)
        if once.dtype != torch.uint8 or not torch.equal(once, again) or not torch.equal(once, twice):
            break
        outputs.append(tuple(once.shape))
    if len(outputs) < 2 or outputs[0] != outputs[1] or len(outputs[0]) != 3 or outputs[0][0] != 3:
        raise VireidError(
            f'the first transform is {config.get("type")}, and a cache keeps images as they are after it',
            allowed='one that brings every image to one size, without chance, and leaves it alone after: Resize, '
            'ResizeScaled',
            todo='put it first in images.train and images.test, or leave images.reader out',
        )
    return outputs[0]


def _source(first: Callable[[Tensor], Tensor]) -> str:
    """Returns the code of a transform's class, since a plugin may change it and keep its name."""
    try:
        return inspect.getsource(type(first))
    except (OSError, TypeError):  # typed in, or written in C
        return type(first).__qualname__


def _stamps(paths: Sequence[str]) -> list[tuple[int, int]]:
    """Returns size and time of change of each file."""
    found = []
    for path in paths:
        try:
            status = os.stat(path)
        except FileNotFoundError as error:
            raise VireidError(f'image {path} is gone', todo='check the data folder') from error
        found.append((status.st_size, status.st_mtime_ns))
    return found


def _digest(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content, default=str).encode(), digest_size=8).hexdigest()


@contextmanager
def _alone(lock: Path, while_waiting: Callable[[], None]) -> Iterator[bool]:
    """Lets one process at a time in; the others wait. A lock goes with its process, however that ends.

    Yields False where there are no locks: builders then do the work twice, each into a file of its own.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield False
        return
    with lock.open('w') as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                while_waiting()
                time.sleep(0.2)
            except OSError:  # a file system without locks
                yield False
                return
        yield True
