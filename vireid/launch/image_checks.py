"""Before the first step: is every image of a run there, and may it be read?"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from vireid.core.config.settings import ImageSettings
from vireid.core.data.images import MOST_PIXELS, read_image
from vireid.core.distributed.processes import gather_objects, world
from vireid.core.errors import VireidError
from vireid.core.types import Sample

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
    own = find_unreadable(paths[rank::processes], settings.check == 'images', on_progress, settings.max_pixels)
    found = [line for part in gather_objects(own) for line in part]
    if found:
        more = f'\n    and {len(found) - SHOWN:,} more' if len(found) > SHOWN else ''
        raise VireidError(
            f'{len(found):,} of {len(paths):,} images cannot be read:\n    ' + '\n    '.join(found[:SHOWN]) + more,
            todo='replace them or take them out of the data folder; training, not scoring, can go without them: '
            'images.on_bad_image=skip',
        )


def find_unreadable(
    paths: Sequence[str],
    decode: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    max_pixels: int = MOST_PIXELS,
) -> list[str]:
    """Looks at images' files; returns what is wrong, a line for each that cannot be read.

    Args:
        paths: the files.
        decode: read each one whole, instead of looking whether it is there, has bytes and may be read.
        on_progress: called with (done, total) images.
        max_pixels: larger images are not decoded.
    """
    look = functools.partial(_error_within, max_pixels) if decode else _error_outside
    chunks = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    found: list[str] = []
    done = 0
    with ThreadPoolExecutor() as pool:  # waiting for files, and decoding them, lets go of the interpreter
        for chunk, lines in zip(chunks, pool.map(lambda chunk: [look(path) for path in chunk], chunks), strict=True):
            found += filter(None, lines)
            done += len(chunk)
            on_progress(done, len(paths))
    return found


def _error_outside(path: str) -> str:
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return f'{path} is not a regular file'
        if found.st_size == 0:
            return f'{path} is empty'
    except OSError as error:
        return f'{path}: {error.strerror}'
    return '' if os.access(path, os.R_OK) else f'{path}: no permission to read it'


def _error_within(max_pixels: int, path: str) -> str:
    try:
        read_image(path, max_pixels)
    except VireidError as error:
        return error.given
    return ''
