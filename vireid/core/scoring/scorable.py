"""Checks that a trial can be scored meaningfully, before anything is embedded or trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vireid.console.wording import counted
from vireid.core.types import Sample, Trial
from vireid.errors import NoMatch, TooFew, VireidError

QUERIES_AT_ONCE = 64  # checked per chunk until one has a match; usually the first one does


def labels(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (N,) int64 identities and cameras of N samples."""
    pairs = np.array([(s.identity, s.camera) for s in samples], dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def require_scorable(trial: Trial) -> None:
    """Checks that query and gallery are not empty and the gallery has several identities.

    Raises:
        TooFew: if not.
    """
    if not trial.query or not trial.gallery:
        raise TooFew(
            f'{trial.name}, trial {trial.index}: {len(trial.query)} query and {len(trial.gallery)} gallery images',
            todo='check the test identities and the cameras of this protocol',
        )
    first = trial.gallery[0].identity
    if all(sample.identity == first for sample in trial.gallery):
        raise TooFew(
            f'{trial.name}, trial {trial.index}: the gallery ({counted(len(trial.gallery), "image")}) contains only '
            f'identity {first}, so any ranking is correct',
            allowed='a gallery with at least two identities',
            todo='test on more identities: check the test identities and the cameras of this protocol',
        )


def require_match(trial: Trial) -> None:
    """Checks that at least one query has a match in the gallery that the protocol does not drop.

    Raises:
        NoMatch: if none has.
    """
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
    """Returns the error for a trial without any match."""
    return NoMatch(
        f'{trial.name}, trial {trial.index}: none of {len(trial.query)} queries has a match in the gallery',
        todo='check that query and gallery share identities, and which images the protocol drops',
    )
