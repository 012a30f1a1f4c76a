"""Before the first step: is every image of a run there, and may it be read?"""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vireid.boundary.image_files import RawImage, is_raw
from vireid.core.config.settings import ImageSettings
from vireid.core.data.images import Decoder
from vireid.core.distributed.processes import gather_objects, world
from vireid.core.errors import VireidError
from vireid.core.types import Sample
from vireid.interfaces import Dataset

SHOWN = 5  # images that an error names
AT_ONCE = 256  # files that one thread looks at, and between two lines of progress


def check_images(
    settings: ImageSettings,
    training: Sequence[Sample],
    test: Sequence[Sample],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Looks at a run's images as `images.check` says; each process at its share of them.

    Training images are passed over if the run may do without some of them; files are, if a cache stands before them.

    Raises:
        VireidError: in every process, if any found images that cannot be read.
    """
    if settings.check == 'nothing' or (settings.check == 'files' and settings.reader is not None):
        return
    samples = [*(training if settings.on_bad_image == 'stop' else ()), *test]
    paths = list(dict.fromkeys(s.path for s in samples))
    rank, processes = world()
    decode = Decoder(settings.max_pixels, settings.scale_raw)
    own = find_unreadable(paths[rank::processes], decode, settings.check == 'images', on_progress)
    found = [error for part in gather_objects(own) for error in part]
    if found:
        more = f'\n    and {len(found) - SHOWN:,} more' if len(found) > SHOWN else ''
        todo = 'replace them or take them out of the data folder; training, not scoring, can go without them: '
        todo += 'images.on_bad_image=skip'
        if all(raw for raw, _ in found):
            todo = 'choose one of the two, by --cfg-options or in the config; the model keeps it'
        raise VireidError(
            f'{len(found):,} of {len(paths):,} images cannot be read:\n    '
            + '\n    '.join(line for _, line in found[:SHOWN])
            + more,
            todo=todo,
        )


def tell_passed_over(dataset: Any) -> None:
    """Prints what lies in one's own data folder and is not read, once for a folder."""
    for line in Dataset.passed_over(dataset):
        _tell_once(f'warning: {dataset.source}: {line}')


@functools.cache
def _tell_once(line: str) -> None:
    print(line, file=sys.stderr)


def find_unreadable(
    paths: Sequence[str],
    decode: Decoder,
    whole: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[tuple[bool, str]]:
    """Looks at images' files; returns what is wrong with each that cannot be read: are its values raw, and a line.

    Args:
        paths: the files.
        decode: what reads an image.
        whole: read each one, instead of looking whether it is there, has bytes, may be read, and whether its header
            announces raw values without a scaling.
        on_progress: called with (done, total) images.
    """
    look = functools.partial(_error_within if whole else _error_outside, decode)
    chunks = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    found: list[tuple[bool, str]] = []
    done = 0
    with ThreadPoolExecutor() as pool:  # waiting for files, and decoding them, lets go of the interpreter
        for chunk, errors in zip(chunks, pool.map(lambda chunk: [look(path) for path in chunk], chunks), strict=True):
            found += filter(None, errors)
            done += len(chunk)
            on_progress(done, len(paths))
    return found


def _error_outside(decode: Decoder, path: str) -> tuple[bool, str] | None:
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return False, f'{path} is not a regular file'
        if found.st_size == 0:
            return False, f'{path} is empty'
    except OSError as error:
        return False, f'{path}: {error.strerror}'
    if not os.access(path, os.R_OK):
        return False, f'{path}: no permission to read it'
    return _error_within(decode, path) if decode.scale_raw is None and is_raw(path) else None


def _error_within(decode: Decoder, path: str) -> tuple[bool, str] | None:
    try:
        decode(path)
    except VireidError as error:
        return isinstance(error, RawImage), error.given
    return None
