"""Images told apart by what is in their files, whatever these are called: a test image is no training image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from vireid.boundary.reading import content_digest
from vireid.core.config.settings import ImageSettings
from vireid.core.distributed.processes import gather_objects, world
from vireid.core.errors import VireidError
from vireid.core.types import Sample, Trial
from vireid.interfaces import Reader

AT_ONCE = 256  # files that one thread reads, and between two lines of progress
DONE = 'take it out of one of the two places; if the dataset is published like this: images.check=nothing'


def content_numbers(
    samples: Sequence[Sample],
    settings: ImageSettings,
    read: Any = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, int]:
    """Returns an int64 number of the content of each image by path; each process reads its share of the files.

    Args:
        samples: the images.
        settings: with `check='nothing'` no file is read, and the result is empty.
        read: a reader whose `digests(paths)` spares reading them.
        on_progress: called with (done, total) images.

    Returns:
        By path; those that cannot be read are left out: whoever needs them says so.
    """
    paths = list(dict.fromkeys(s.path for s in samples))
    if settings.check == 'nothing' or not paths:
        return {}
    if Reader.digests(read):
        return dict(zip(paths, map(_number, read.digests(paths)), strict=True))
    rank, processes = world()
    own, found = paths[rank::processes], dict[str, int]()
    chunks = [own[start : start + AT_ONCE] for start in range(0, len(own), AT_ONCE)]
    with ThreadPoolExecutor() as pool:  # waiting for files lets go of the interpreter
        for chunk, numbers in zip(chunks, pool.map(lambda chunk: list(map(_read, chunk)), chunks), strict=True):
            found |= {path: number for path, number in zip(chunk, numbers, strict=True) if number is not None}
            on_progress(min(len(paths), processes * len(found)), len(paths))
    return {path: number for part in gather_objects(found) for path, number in part.items()}


def _read(path: str) -> int | None:
    try:
        return _number(content_digest(path))
    except OSError:
        return None


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, 'little', signed=True)


def require_apart(training: Sequence[Sample], test: Sequence[Sample], numbers: Mapping[str, int]) -> None:
    """Raises if an image is scored on that is trained on too, under this name or another."""
    trained = {numbers[s.path]: s.path for s in training if s.path in numbers}
    both = [(s.path, trained[numbers[s.path]]) for s in test if numbers.get(s.path) in trained]
    if both:
        raise VireidError(
            f'{len(dict(both)):,} of the images to score are training images too: {both[0][0]} has the content of '
            f'{both[0][1]}',
            allowed='test images that are not trained on',
            todo=DONE,
        )


def require_no_twins(trials: Sequence[Trial], numbers: Mapping[str, int]) -> None:
    """Raises if a query has an image in its gallery that is the very same file: it would find itself."""
    for trial in trials:
        gallery = {numbers[s.path]: s for s in trial.gallery if s.path in numbers}
        for query in trial.query:
            twin = gallery.get(numbers.get(query.path, 0))
            if twin is not None and not _is_dropped(trial, query, twin):
                raise VireidError(
                    f'{trial.name}: the query {query.path} would find itself: {twin.path} in the gallery is equal',
                    allowed='other images of the person in the gallery',
                    todo=DONE,
                )


def _is_dropped(trial: Trial, query: Sample, twin: Sample) -> bool:
    if trial.drop is None:
        return False
    labels = (query.identity, query.camera, twin.identity, twin.camera)
    arrays = [np.array([[value]], dtype=np.int64) for value in labels]
    return bool(np.all(trial.drop(*arrays)))
