"""Compares images by file content, to ensure that no test image is also a training image under another name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vireid.boundary.reading import content_digest
from vireid.core.config.settings import ImageSettings
from vireid.core.data.images import fingerprint
from vireid.core.types import Sample, Trial
from vireid.errors import Mismatch, WrongContent
from vireid.interfaces import Reader
from vireid.launch.read_files import read_files
from vireid.runtime.processes import gather_objects, world

DONE = 'remove one of the two; if the dataset was published like this: images.check=nothing'


def content_numbers(
    samples: Sequence[Sample],
    settings: ImageSettings,
    read: Any = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, int]:
    """Returns an int64 content hash of each image by path; each process reads its share of the files.

    Args:
        samples: the images.
        settings: with `check='nothing'` no file is read and the result is empty.
        read: a reader; if it has `digests(paths)`, the files are not read again.
        on_progress: called with (done, total) images.

    Returns:
        Hashes by path, without files that cannot be read; these raise an error when they are needed.
    """
    paths = list(dict.fromkeys(s.path for s in samples))
    if settings.check == 'nothing' or not paths:
        return {}
    if Reader.digests(read):
        return dict(zip(paths, map(_number, read.digests(paths)), strict=True))
    rank, processes = world()
    own = paths[rank::processes]
    hashes = read_files(_read, own, lambda done: on_progress(min(len(paths), processes * done), len(paths)))
    known = [(path, number) for path, number in zip(own, hashes, strict=True) if number is not None]
    return dict(pair for part in gather_objects(known) for pair in part)


def _read(path: str) -> int | None:
    try:
        return _number(content_digest(path))
    except OSError:
        return None


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, 'little', signed=True)


def require_apart(training: Sequence[Sample], test: Sequence[Sample], numbers: Mapping[str, int]) -> None:
    """Checks that no image is both trained on and scored, under the same or another name.

    Args:
        training: the training samples.
        test: the samples to score.
        numbers: content hashes by path.

    Raises:
        WrongContent: if an image is in both.
    """
    trained = {numbers[s.path]: s.path for s in training if s.path in numbers}
    both = [(s.path, trained[numbers[s.path]]) for s in test if numbers.get(s.path) in trained]
    if both:
        raise WrongContent(
            f'{len(dict(both)):,} of the images to score are also training images: {both[0][0]} is identical to '
            f'{both[0][1]}',
            allowed='test images that are not trained on',
            todo=DONE,
        )


def require_no_twins(trials: Sequence[Trial], numbers: Mapping[str, int]) -> None:
    """Checks that no query has an identical image in its gallery, which would be a trivial match.

    Raises:
        WrongContent: if a query has one.
    """
    for trial in trials:
        gallery = {numbers[s.path]: s for s in trial.gallery if s.path in numbers}
        for query in trial.query:
            twin = gallery.get(numbers.get(query.path, 0))
            if twin is not None and not _is_dropped(trial, query, twin):
                raise WrongContent(
                    f'{trial.name}: the query {query.path} would match itself: {twin.path} in the gallery is identical',
                    allowed='other images of the identity in the gallery',
                    todo=DONE,
                )


def _is_dropped(trial: Trial, query: Sample, twin: Sample) -> bool:
    if trial.drop is None:
        return False
    labels = (query.identity, query.camera, twin.identity, twin.camera)
    arrays = [np.array([[value]], dtype=np.int64) for value in labels]
    return bool(np.all(trial.drop(*arrays)))


def require_unseen(
    samples: Sequence[Sample], seen: np.ndarray, source: str, contents: Mapping[str, int] | None = None
) -> None:
    """Checks that weights were not trained on the images to score.

    Args:
        samples: the images to score.
        seen: (N,) int64 hashes of the training images.
        source: name of the weights, for messages.
        contents: content hashes of the images by path; if None, only their paths are compared.

    Raises:
        Mismatch: if an image to score was trained on.
    """
    known = np.array([(contents or {}).get(s.path, 0) for s in samples], dtype=np.int64)
    both = (np.isin(fingerprint(samples), seen) | (np.isin(known, seen) & (known != 0))).sum()
    if both:
        raise Mismatch(
            f'{source} was trained on {both:,} of the images to score',
            todo='score images that it was not trained on, such as the test split of its config',
        )
