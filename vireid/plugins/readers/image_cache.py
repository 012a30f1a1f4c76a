"""ImageCache: decoded images in one file, with a checksum of each."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import sys
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
from vireid.boundary.showing import error_text
from vireid.boundary.writing import open_whole
from vireid.core.data.images import Decoder, read_image
from vireid.core.types import Sample
from vireid.errors import Changed, DamagedFile, Mismatch, MissingFile, TooFew, WriteFailed, WrongValue
from vireid.runtime.randomness import seeded

FORMAT = 3
MAGIC = b'vireid-3'
PAGE = 4096  # the pixels start at a multiple of it
AT_ONCE = 64  # images to decode before they are written


_turn = threading.Lock()  # for reading where all threads share the file position


@dataclass(frozen=True)
class Content:
    """An open, complete cache file.

    Attributes:
        file: the unbuffered file; it stays readable if another process deletes it.
        start: offset of the pixels.
        sources: digest of each source file.
        sums: CRC-32 of each image's pixels.
    """

    file: BinaryIO
    start: int
    sources: list[bytes]
    sums: list[int]


class ImageCache:
    """Caches each image after the first transform, as uint8, so that it is decoded and resized only once.

    The first transform must resize images to a fixed size, deterministically, and leave an image of that size unchanged
    (`Resize`, `ResizeScaled`). All transforms still run on cached images, so the network's input is bit-identical to
    that without a cache.

    A cache is valid for a list of files with their sizes and modification times, for the settings of the transform and
    of decoding, and for the versions of torchvision and Pillow. If any of these changes, a new cache replaces the
    outdated one of the same files. The cache is built at the start, in a temporary file that is renamed at the end, so
    a crash never leaves a file that looks complete. A second process waits for the first one to build it.

    The folder may be writable by other users. A cache or lock file is rejected if it is a link, or if its owner is
    neither the current user, nor root, nor the owner of the folder. A cache with an unexpected header is rebuilt.
    Pixels are verified with their checksum on each read.

    Args:
        samples: the samples whose images to cache.
        first: the first transform.
        first_config: its config.
        folder: folder for caches; several datasets may share it. The training images of SYSU-MM01 at 288 x 144 take
            4.3 GB.
        on_progress: called with (done, total) images while the cache is built.
        decode: maps a path to a (3, H, W) uint8 image; None means `read_image`.

    Raises:
        VireidError: if the first transform is unsuitable, an image cannot be read, the folder cannot be written to, or
            a file in it is not trusted.
    """

    reaches_out = True  # writes outside the run folder, so untrusted configs must not use it

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
            raise TooFew('there are no images to cache')
        if not folder:
            raise WrongValue("folder is ''", allowed='a folder for the cache, such as cache')
        self.shape = (len(paths), *_fixed_shape(first, first_config))
        self._index = {path: number for number, path in enumerate(paths)}
        scale_raw = decode.scale_raw if isinstance(decode, Decoder) else None
        settings = [FORMAT, dict(first_config), scale_raw, _source(first), torchvision.__version__, PIL.__version__]
        place, stamps = _digest([settings, [os.path.abspath(p) for p in paths]]), _stamps(paths)
        key = json.dumps([settings, [os.path.abspath(p) for p in paths], stamps], default=str)
        self._key = hashlib.sha256(key.encode()).hexdigest()
        base = Path(folder).expanduser()
        self.file = base / f'{place}-{_digest(stamps)}.u8'
        try:
            base.mkdir(parents=True, exist_ok=True)
            # kept open, as another process may delete the cache when it becomes outdated
            self._content: Content | None = self._open()
            if self._content is None:
                with alone_in(base / f'.{place}.lock', lambda: self._report_other(on_progress)) as alone:
                    self._content = self._open()  # another process may have built it in the meantime
                    if self._content is None:
                        self._build(paths, lambda path: first((decode or read_image)(path)), on_progress, alone)
                        if _stamps(paths) != stamps:
                            self.file.unlink()
                            raise Changed('images changed while the cache was built', todo='run the command again')
                        self._content = self._open()
        except OSError as error:
            raise WriteFailed(
                f'the image cache in {base} cannot be written: {error_text(error)}',
                todo=f'free {self._size() / 1e9:.1f} GB there, set another folder, or remove images.reader',
            ) from error
        self._opened()

    def __call__(self, path: str) -> Tensor:
        """Returns the cached image of a path, (3, H, W) uint8.

        Raises:
            DamagedFile: if the cache cannot be read, or the pixels do not match their checksum.
        """
        content, number = self._opened(), self._index[path]
        image = np.empty(self.shape[1:], dtype=np.uint8)
        try:
            whole = _read_into(content.file, image.data.cast('B'), content.start + number * image.nbytes)
        except OSError as error:
            self._fail(f'cannot be read: {error_text(error)}')
        if not whole or zlib.crc32(image.data) != content.sums[number]:
            self._fail(f'is damaged: the pixels of {path} do not match their checksum')
        return torch.from_numpy(image)

    def digests(self, paths: Sequence[str]) -> list[bytes]:
        """Returns the `content_digest` of each image's source file when the cache was built."""
        sources = self._opened().sources
        return [sources[self._index[path]] for path in paths]

    def __getstate__(self) -> dict[str, Any]:
        # an open file cannot be pickled
        return {**self.__dict__, '_content': None}

    def _opened(self) -> Content:
        """Returns the open file, reopening it in a process that unpickled this object."""
        if self._content is None:
            try:
                self._content = self._open()
            except OSError as error:
                self._fail(f'cannot be read: {error_text(error)}')
        if self._content is None:
            self._fail('was replaced, damaged or deleted')
        return self._content

    def _fail(self, why: str) -> NoReturn:
        raise DamagedFile(f'the image cache {self.file} {why}', todo='delete that file, then run the command again')

    def _open(self) -> Content | None:
        """Opens the file; returns None if it does not exist or its header is not the expected one.

        Raises:
            VireidError: if it is a link or belongs to another user.
            OSError: if it cannot be opened.
        """
        try:
            handle = open_trusted(self.file, os.O_RDONLY)
        except FileNotFoundError:
            return None
        file = os.fdopen(handle, 'rb', buffering=0)
        size = os.fstat(handle).st_size
        checksums = self._parse(file.read(self._head_size()) or b'') if size == self._size() else None
        if checksums is None:
            file.close()
            return None
        return Content(file, self._start(), *checksums)  # type: ignore[arg-type]

    def _head(self, sources: Sequence[bytes], sums: Sequence[int]) -> bytes:
        """Returns the header before the pixels; its length depends only on the number of images."""
        images = [[source.hex(), f'{total:08x}'] for source, total in zip(sources, sums, strict=True)]
        text = json.dumps({'key': self._key, 'shape': self.shape, 'images': images}).encode()
        head = MAGIC + len(text).to_bytes(8, 'little') + text
        return head + hashlib.sha256(head).digest()

    def _parse(self, head: bytes) -> tuple[list[bytes], list[int]] | None:
        """Returns the checksums in a header, or None if this cache would not have written it."""
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

    def _report_other(self, on_progress: Callable[[int, int], None] | None) -> None:
        """Reports the progress of the process that builds the cache while this one waits."""
        if on_progress:
            sizes = [0]
            for part in self.file.parent.glob(f'.{self.file.name}.*.part'):
                with suppress(OSError):  # renamed in the meantime
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
            with suppress(OSError):  # deleted in the meantime, or of another user
                if alone or time.time() - left.lstat().st_mtime > 3600:  # left by a process that was killed
                    left.unlink()
        free = shutil.disk_usage(base).free
        if free < self._size():
            raise OSError(f'{free / 1e9:.1f} GB are free and {self._size() / 1e9:.1f} GB are needed')
        sources: list[bytes] = []
        sums: list[int] = []
        # not memory-mapped, where a full disk would crash the process instead of raising an error
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
                        raise Mismatch(f'the first transform resized an image to {tuple(image.shape)}')
                    sources.append(source)
                    sums.append(zlib.crc32(pixels))
                    file.write(pixels)
            file.seek(0)
            file.write(self._head(sources, sums))
        if on_progress:
            on_progress(len(paths), len(paths))
        for outdated in base.glob(f'{self.file.name.split("-")[0]}-*.u8'):
            if outdated != self.file:
                with suppress(OSError):  # of another user
                    outdated.unlink()


def _source_digest(path: str) -> bytes:
    try:
        return content_digest(path)
    except OSError as error:
        raise DamagedFile(f'image {path} cannot be read: {error_text(error)}', todo='check the data folder') from error


def _read_into(file: BinaryIO, left: memoryview, start: int) -> bool:
    """Fills a buffer with the content of a file from an offset; returns whether the file was long enough.

    The file is not memory-mapped, as truncating a mapped file kills the process.
    """
    while len(left):
        if sys.platform == 'linux':
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
    """Runs the first transform on noise of two sizes and returns its fixed output shape, (3, H, W).

    Raises:
        Mismatch: if the shape is not fixed, or the transform is random or not idempotent.
    """
    outputs = []
    for seed, size in enumerate(((61, 37), (150, 80))):
        with seeded('image cache', seed):
            noise = torch.randint(256, (3, *size), dtype=torch.uint8)
            once = first(noise)
            with seeded('image cache', seed + 10):
                repeated, twice = first(noise), first(once)
        if once.dtype != torch.uint8 or not torch.equal(once, repeated) or not torch.equal(once, twice):
            break
        outputs.append(tuple(once.shape))
    if len(outputs) < 2 or outputs[0] != outputs[1] or len(outputs[0]) != 3 or outputs[0][0] != 3:
        raise Mismatch(
            f'the first transform is {config.get("type")}, whose output cannot be cached',
            allowed='a deterministic resize to a fixed size that leaves resized images unchanged: Resize, ResizeScaled',
            todo='put it first in images.train and images.test, or remove images.reader',
        )
    return outputs[0]


def _source(first: Callable[[Tensor], Tensor]) -> str:
    """Returns the source code of a transform's class, as a plugin may change it without changing its name."""
    try:
        return inspect.getsource(type(first))
    except (OSError, TypeError):  # defined interactively, or in C
        return type(first).__qualname__


def _stamps(paths: Sequence[str]) -> list[tuple[int, int]]:
    """Returns the size and modification time of each file."""
    stamps = []
    for path in paths:
        try:
            status = os.stat(path)
        except FileNotFoundError as error:
            raise MissingFile(f'image {path} does not exist', todo='check the data folder') from error
        stamps.append((status.st_size, status.st_mtime_ns))
    return stamps


def _digest(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content, default=str).encode(), digest_size=8).hexdigest()
