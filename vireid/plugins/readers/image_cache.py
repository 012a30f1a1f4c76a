"""Decoded images in one file, with a checksum of each."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import PIL
import torch
import torchvision
from torch import Tensor

from vireid.boundary.reading import content_digest
from vireid.boundary.shared_folders import alone as alone_in
from vireid.boundary.shared_folders import forbid_others_to_write, open_trusted
from vireid.boundary.writing import open_whole
from vireid.core.data.images import read_image
from vireid.core.data.randomness import seeded
from vireid.core.errors import VireidError
from vireid.core.types import Sample

FORMAT = 3
MAGIC = b'vireid-3'
PAGE = 4096  # pixels begin at a multiple of it
AT_ONCE = 64  # images decoded before they are written


_turn = threading.Lock()  # of reading, where a file has one position for all threads


@dataclass(frozen=True)
class Content:
    """A cache file that is open and whole.

    Attributes:
        file: unbuffered; it stays readable when another process takes the file away.
        start: where the pixels begin.
        sources: a checksum of each image's own file.
        sums: a CRC-32 of each image's pixels.
    """

    file: BinaryIO
    start: int
    sources: list[bytes]
    sums: list[int]


class ImageCache:
    """Keeps every image as it is after the first transform, as uint8, so that no epoch decodes and resizes it again.

    The first transform has to bring images to one size without chance and leave an image of that size alone
    (`Resize`, `ResizeScaled`); the transforms are then applied as ever, so what the network sees is what it sees
    without a cache, bit for bit.

    A cache belongs to a list of files with their sizes and times of change, to the settings of the transform and of
    decoding, and to the versions of torchvision and Pillow: anything else makes a new one, in place of an outdated one
    of the same files. It is built at the start, under a name of its own that is changed at the end, so that a crash
    leaves nothing that looks complete; a second process waits for the first one's.

    The folder may be one that others write into. A cache or lock that is a link, or that belongs to neither the
    current user, root, nor the folder's owner, is refused; one whose head is not the expected one is made anew; pixels
    are compared with their checksum whenever they are read.

    Args:
        samples: what it will be asked for.
        first: the first transform.
        first_config: what that was built from.
        folder: where caches lie; several may share it. Training images of SYSU-MM01 at 288 x 144 take 4.3 GB.
        on_progress: called with (done, total) images while it is built.
        decode: turns a path into a (3, H, W) uint8 image; `read_image` if None.

    Raises:
        VireidError: if the first transform does not fit, an image cannot be read, the folder cannot be written, or a
            file in it is not to be trusted.
    """

    reaches_out = True  # it writes into a folder of its own: a config that is data does not choose it

    def __init__(
        self,
        samples: Sequence[Sample],
        first: Callable[[Tensor], Tensor],
        first_config: Mapping[str, Any],
        folder: str,
        on_progress: Callable[[int, int], None] | None = None,
        decode: Callable[[str], Tensor] | None = None,
    ) -> None:
        paths = sorted({s.path for s in samples})
        if not paths:
            raise VireidError('there is no image to cache')
        if not folder:
            raise VireidError("folder is ''", allowed='where the cache is to be, such as cache')
        self.shape = (len(paths), *_fixed_shape(first, first_config))
        self._index = {path: number for number, path in enumerate(paths)}
        scale_raw = getattr(decode, 'scale_raw', None)
        settings = [FORMAT, dict(first_config), scale_raw, _source(first), torchvision.__version__, PIL.__version__]
        place, stamps = _digest([settings, [os.path.abspath(p) for p in paths]]), _stamps(paths)
        key = json.dumps([settings, [os.path.abspath(p) for p in paths], stamps], default=str)
        self._key = hashlib.sha256(key.encode()).hexdigest()
        base = Path(folder).expanduser()
        self.file = base / f'{place}-{_digest(stamps)}.u8'
        try:
            base.mkdir(parents=True, exist_ok=True)
            # kept open: another process may find the cache outdated and take it away
            self._content: Content | None = self._open()
            if self._content is None:
                with alone_in(base / f'.{place}.lock', lambda: self._tell_of_another(on_progress)) as alone:
                    self._content = self._open()  # another process may have built it meanwhile
                    if self._content is None:
                        self._build(paths, lambda path: first((decode or read_image)(path)), on_progress, alone)
                        if _stamps(paths) != stamps:
                            self.file.unlink()
                            raise VireidError('images were changed while they were read', todo='start again')
                        self._content = self._open()
        except OSError as error:
            raise VireidError(
                f'the image cache in {base} cannot be written: {error}',
                todo=f'free {self._size() / 1e9:.1f} GB there, name another folder, or leave images.reader out',
            ) from error
        self._opened()

    def __call__(self, path: str) -> Tensor:
        """Returns the image as (3, H, W) uint8.

        Raises:
            VireidError: if the pixels are not those that were written.
        """
        content, number = self._opened(), self._index[path]
        image = np.empty(self.shape[1:], dtype=np.uint8)
        try:
            whole = _read_into(content.file, image.data.cast('B'), content.start + number * image.nbytes)
        except OSError as error:
            self._refuse(f'cannot be read: {error}')
        if not whole or zlib.crc32(image.data) != content.sums[number]:
            self._refuse(f'is damaged: the pixels of {path} are not those that were written')
        return torch.from_numpy(image)

    def digests(self, paths: Sequence[str]) -> list[bytes]:
        """Returns `content_digest` of each image's own file, taken when the cache was built."""
        sources = self._opened().sources
        return [sources[self._index[path]] for path in paths]

    def __getstate__(self) -> dict[str, Any]:
        # an open file goes into no pickle
        return {**self.__dict__, '_content': None}

    def _opened(self) -> Content:
        """Returns the open file, opened again in a process that got this object as a pickle."""
        if self._content is None:
            try:
                self._content = self._open()
            except OSError as error:
                self._refuse(f'cannot be read: {error}')
        if self._content is None:
            self._refuse('was replaced, damaged or deleted')
        return self._content

    def _refuse(self, why: str) -> NoReturn:
        raise VireidError(f'the image cache {self.file} {why}', todo='delete that file and start again')

    def _open(self) -> Content | None:
        """Opens the file; returns None if there is none, or its head is not the one that belongs there.

        Raises:
            VireidError: if it is a link, or another user's.
            OSError: if it cannot be opened.
        """
        try:
            handle = open_trusted(self.file, os.O_RDONLY)
        except FileNotFoundError:
            return None
        file = os.fdopen(handle, 'rb', buffering=0)
        size = os.fstat(handle).st_size
        found = self._parse(file.read(self._head_size()) or b'') if size == self._size() else None
        if found is None:
            file.close()
            return None
        return Content(file, self._start(), *found)  # type: ignore[arg-type]

    def _head(self, sources: Sequence[bytes], sums: Sequence[int]) -> bytes:
        """Returns what stands before the pixels; its length depends on the number of images alone."""
        images = [[source.hex(), f'{total:08x}'] for source, total in zip(sources, sums, strict=True)]
        text = json.dumps({'key': self._key, 'shape': self.shape, 'images': images}).encode()
        head = MAGIC + len(text).to_bytes(8, 'little') + text
        return head + hashlib.sha256(head).digest()

    def _parse(self, head: bytes) -> tuple[list[bytes], list[int]] | None:
        """Returns the checksums in a head; None if it is not what this cache would have written."""
        try:
            images = json.loads(head[len(MAGIC) + 8 : -hashlib.sha256().digest_size])['images']
            sources, sums = [bytes.fromhex(s) for s, _ in images], [int(total, 16) for _, total in images]
            return (sources, sums) if self._head(sources, sums) == head else None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None

    def _head_size(self) -> int:
        count = self.shape[0]
        return len(self._head([bytes(8)] * count, [0] * count))

    def _start(self) -> int:
        return -(-self._head_size() // PAGE) * PAGE

    def _size(self) -> int:
        return self._start() + int(np.prod(self.shape))

    def _tell_of_another(self, on_progress: Callable[[int, int], None] | None) -> None:
        """Shows how far the process has come that builds what this one waits for."""
        if on_progress:
            sizes = [0]
            for part in self.file.parent.glob(f'.{self.file.name}.*.part'):
                with suppress(OSError):  # renamed meanwhile
                    sizes.append(part.lstat().st_size - self._start())
            on_progress(min(self.shape[0] - 1, max(sizes) // int(np.prod(self.shape[1:]))), self.shape[0])

    def _build(
        self,
        paths: Sequence[str],
        make: Callable[[str], Tensor],
        on_progress: Callable[[int, int], None] | None,
        alone: bool,
    ) -> None:
        base = self.file.parent
        for left in base.glob(f'.{self.file.name.split("-")[0]}-*.part'):
            with suppress(OSError):  # gone meanwhile, or another user's
                if alone or time.time() - left.lstat().st_mtime > 3600:  # of a process that was killed
                    left.unlink()
        free = shutil.disk_usage(base).free
        if free < self._size():
            raise OSError(f'{free / 1e9:.1f} GB are free and {self._size() / 1e9:.1f} GB are needed')
        sources: list[bytes] = []
        sums: list[int] = []
        # written, not mapped: a full disk is an error here and would be a crash there
        with open_whole(self.file, sync=True) as file, ThreadPoolExecutor() as pool:
            forbid_others_to_write(file)
            file.seek(self._start())
            for start in range(0, len(paths), AT_ONCE):
                if on_progress:
                    on_progress(start, len(paths))
                for source, image in pool.map(
                    lambda path: (_source_digest(path), make(path)), paths[start : start + AT_ONCE]
                ):
                    pixels = image.contiguous().numpy().tobytes()
                    if len(pixels) != int(np.prod(self.shape[1:])):
                        raise VireidError(f'the first transform makes {tuple(image.shape)} of an image')
                    sources.append(source)
                    sums.append(zlib.crc32(pixels))
                    file.write(pixels)
            file.seek(0)
            file.write(self._head(sources, sums))
        if on_progress:
            on_progress(len(paths), len(paths))
        for outdated in base.glob(f'{self.file.name.split("-")[0]}-*.u8'):
            if outdated != self.file:
                with suppress(OSError):  # another user's
                    outdated.unlink()


def _source_digest(path: str) -> bytes:
    try:
        return content_digest(path)
    except OSError as error:
        raise VireidError(f'image {path} cannot be read: {error}', todo='check the data folder') from error


def _read_into(file: BinaryIO, left: memoryview, start: int) -> bool:
    """Fills memory with what stands in a file from some byte on; says whether the file had that much.

    A file that is cut short while it is mapped would kill the process; reading it does not.
    """
    while len(left):
        if hasattr(os, 'preadv'):
            got = os.preadv(file.fileno(), [left], start)
        else:
            with _turn:
                file.seek(start)
                got = file.readinto(left)  # type: ignore[attr-defined]
        if not got:
            return False
        left, start = left[got:], start + got
    return True


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
