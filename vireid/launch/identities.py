"""The training identities of a run, by name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vireid.console.wording import counted
from vireid.core.config.same_run import named
from vireid.core.types import Sample
from vireid.errors import Changed
from vireid.interfaces import Dataset


def name_identities(dataset: Dataset, samples: Sequence[Sample]) -> tuple[str, ...]:
    """Returns the names of the samples' identities in label order; their numbers if they have no names."""
    names: Mapping[int, str] = Dataset.names(dataset)
    return tuple(str(names.get(number, number)) for number in sorted({s.identity for s in samples}))


def require_same_identities(content: Mapping[str, Any], identities: Sequence[str], source: str) -> None:
    """Checks that a checkpoint was trained on the same identities with the same labels.

    Args:
        content: the checkpoint; it is not compared if it does not list its identities.
        identities: the identities of the run to resume, in the order of their labels.
        source: name of the checkpoint, for messages.

    Raises:
        Changed: if identities or labels differ.
    """
    ours, theirs = list(identities), content.get('identities', list(identities))
    if ours == theirs:
        return
    gone, new = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    differences = [f'only the checkpoint has {named(gone)}'] if gone else []
    differences += [f'only this run has {named(new)}'] if new else []
    raise Changed(
        f'{source} and this run have different training identities: '
        f'{"; ".join(differences) or "their labels are in a different order"}',
        allowed='the training identities that the run started with',
        todo=f'resume with the data it was trained on, or start a new run from its weights: --init {source}',
    )


def digest_of(samples: Sequence[Sample], identities: Sequence[str], numbers: Mapping[str, int]) -> int:
    """Returns an int64 hash of the training images and what is known about each; 0 if their contents are unknown.

    Args:
        samples: the training samples.
        identities: the names of their identities, in label order.
        numbers: content hashes by path, so that the data may be moved.
    """
    if not numbers:
        return 0
    names = dict(zip(sorted({s.identity for s in samples}), identities, strict=True))
    known = sorted((numbers.get(s.path, 0), names[s.identity], s.camera, s.modality) for s in samples)
    return int.from_bytes(hashlib.blake2b(repr(known).encode(), digest_size=8).digest(), 'little', signed=True)


def require_same_images(content: Mapping[str, Any], digest: int, contents: np.ndarray, source: str) -> None:
    """Checks that a checkpoint was trained on the same images with the same identities, cameras and modalities.

    Args:
        content: the checkpoint; it is not compared if it was saved by a version that did not store this.
        digest: see `digest_of`.
        contents: (N,) int64 content hashes of the training images.
        source: name of the checkpoint, for messages.

    Raises:
        Changed: if images or what is known about them changed.
    """
    if not digest or content.get('images_digest', 0) in (0, digest):
        return
    new = int((~np.isin(contents, content['trained_on'].numpy())).sum())
    about = (
        f'{counted(new, "training image of this run is", "training images of this run are")} new or changed since'
        if new
        else 'some are gone, or have another identity, camera or modality'
    )
    raise Changed(
        f'the training images changed after {source} was saved: {about}',
        allowed='the images and labels that the run started with',
        todo=f'restore the data, or start a new run from its weights: --init {source}',
    )
