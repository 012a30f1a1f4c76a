"""Trials that a score can mean something on: known from the draw, before anything is embedded or trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vireid.core.errors import VireidError
from vireid.core.types import Sample, Trial
from vireid.core.wording import counted

QUERIES_AT_ONCE = 64  # looked at until one has a match: mostly the first has


def labels(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (N,) int64 identities and cameras of N samples."""
    pairs = np.array([(s.identity, s.camera) for s in samples], dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def require_scorable(trial: Trial) -> None:
    """Raises if query or gallery is empty, or the gallery is of one identity: then any ranking is right."""
    if not trial.query or not trial.gallery:
        raise VireidError(
            f'{trial.name}, trial {trial.index}: {len(trial.query)} query and {len(trial.gallery)} gallery images',
            todo='check the test identities and the cameras of this protocol',
        )
    first = trial.gallery[0].identity
    if all(sample.identity == first for sample in trial.gallery):
        raise VireidError(
            f'{trial.name}, trial {trial.index}: the gallery ({counted(len(trial.gallery), "image")}) shows identity '
            f'{first} alone, so any ranking is right',
            allowed='a gallery of two identities or more',
            todo='test on more people: check the test identities and the cameras of this protocol',
        )


def require_match(trial: Trial) -> None:
    """Raises if no query has a match in the gallery, after what the protocol drops."""
    query_ids, query_cameras = labels(trial.query)
    gallery_ids, gallery_cameras = labels(trial.gallery)
    for start in range(0, len(query_ids), QUERIES_AT_ONCE):
        rows = slice(start, start + QUERIES_AT_ONCE)
        match = query_ids[rows, None] == gallery_ids
        if trial.drop is not None:
            cameras = query_cameras[rows, None], gallery_ids[None], gallery_cameras[None]
            match = match & ~np.broadcast_to(trial.drop(query_ids[rows, None], *cameras), match.shape)
        if match.any():
            return
    raise no_match(trial)


def no_match(trial: Trial) -> VireidError:
    """Returns the error that no query has a match."""
    return VireidError(
        f'{trial.name}, trial {trial.index}: none of {len(trial.query)} queries has a match in the gallery',
        todo='check that query and gallery share identities, and what the protocol drops',
    )
