"""What readers of one's own images share: identities numbered by name, and splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vireid.core.errors import VireidError, did_you_mean
from vireid.core.types import MODALITIES, Sample

LARGEST = 2**31


def number_identities(names: Iterable[object]) -> dict[str, int]:
    """Returns a number for each name: its own if all are numbers below 2^31, else 1, 2, ... in sorted order."""
    unique = sorted({str(name) for name in names})
    numbers = {int(name) for name in unique if name.isascii() and name.isdecimal() and len(name) < 12}
    if len(numbers) == len(unique) and max(numbers, default=0) < LARGEST:
        return {name: int(name) for name in unique}
    return {name: number for number, name in enumerate(unique, 1)}


def require_split(splits: Mapping[str, Sequence[Sample]], name: str, source: str) -> tuple[Sample, ...]:
    """Returns the samples of a split, visible first.

    Raises:
        VireidError: if there is no such split, or it lacks a modality.
    """
    if not splits.get(name):
        raise VireidError(
            f'{source} has no split {name!r}{did_you_mean(name, splits)}', allowed=', '.join(splits) or 'it is empty'
        )
    samples = tuple(sorted(splits[name], key=lambda s: MODALITIES.index(s.modality)))
    for modality in MODALITIES:
        if all(sample.modality != modality for sample in samples):
            raise VireidError(f'{source}: the split {name!r} has no {modality} image', todo='add some')
    return samples
