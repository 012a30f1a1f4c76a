"""Checks before the first step that every image of a run exists and can be read."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Sequence
from typing import Any

from vireid.boundary.image_files import RawImage, is_raw
from vireid.console.warn import warn_once
from vireid.core.config.settings import ImageSettings
from vireid.core.data.images import Decoder
from vireid.core.types import Sample
from vireid.errors import DamagedFile, VireidError
from vireid.interfaces import Dataset
from vireid.launch.read_files import read_files
from vireid.runtime.processes import gather_objects, world

MAX_LISTED = 5  # images listed in an error


def check_images(
    settings: ImageSettings,
    training: Sequence[Sample],
    test: Sequence[Sample],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Checks a run's images as configured by `images.check`; each process checks its share.

    Training images are not checked if the run may skip unreadable ones, and files are not checked if there is a reader.

    Args:
        settings: the `images` section.
        training: the training samples.
        test: the samples to score.
        on_progress: called with (done, total) images.

    Raises:
        VireidError: in every process, if any process found unreadable images.
    """
    if settings.check == 'nothing' or (settings.check == 'files' and settings.reader is not None):
        return
    samples = [*(training if settings.on_bad_image == 'stop' else ()), *test]
    paths = list(dict.fromkeys(s.path for s in samples))
    rank, processes = world()
    decode = Decoder(settings.max_pixels, settings.scale_raw)
    unreadable = find_unreadable(paths[rank::processes], decode, settings.check == 'images', on_progress)
    errors = [error for part in gather_objects(unreadable) for error in part]
    if errors:
        more = f'\n    and {len(errors) - MAX_LISTED:,} more' if len(errors) > MAX_LISTED else ''
        todo = 'replace them or remove them from the data folder; to skip them in training, but not in evaluation: '
        todo += 'images.on_bad_image=skip'
        raw = all(raw for raw, _ in errors)
        if raw:
            todo = 'set one of the two, with --cfg-options or in the config; the checkpoint records it'
        raise (RawImage if raw else DamagedFile)(
            f'{len(errors):,} of {len(paths):,} images cannot be read:\n    '
            + '\n    '.join(line for _, line in errors[:MAX_LISTED])
            + more,
            todo=todo,
        )


def warn_skipped(dataset: Any) -> None:
    """Warns once per folder about files in the user's data folder that are not read."""
    for line in Dataset.passed_over(dataset):
        warn_once(f'{dataset.source}: {line}')


def find_unreadable(
    paths: Sequence[str],
    decode: Decoder,
    whole: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[tuple[bool, str]]:
    """Returns (is raw, message) for each image that cannot be read; raw images only lack a scaling.

    Args:
        paths: the files.
        decode: the decoder.
        whole: decode each image. Otherwise only check that the file exists, is not empty and is readable, and that its
            header does not announce raw values without a scaling.
        on_progress: called with (done, total) images.
    """
    look = functools.partial(_error_within if whole else _error_outside, decode)
    errors = read_files(look, paths, lambda done: on_progress(done, len(paths)))
    return [error for error in errors if error is not None]


def _error_outside(decode: Decoder, path: str) -> tuple[bool, str] | None:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return False, f'{path} is not a regular file'
        if status.st_size == 0:
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
