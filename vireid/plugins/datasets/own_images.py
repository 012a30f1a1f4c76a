"""The base class of datasets for your own images: numbers identities by name and assigns splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vireid.boundary.names import lookalike_error
from vireid.console.wording import counted
from vireid.core.types import MODALITIES, Sample
from vireid.errors import TooFew, UnknownName, VireidError, WrongContent, did_you_mean
from vireid.plugins.datasets.splitting import MIN_IDENTITIES, SplitAssignment, divide

MAX_NUMBER = 2**31
SPLITS = ('train', 'val', 'test')
# how people who are not known are marked, in lower case
UNNAMED = ('-1', '-1.0', 'unknown', 'none', 'null', 'n/a', 'unlabeled', 'unlabelled', '?')


class OwnImages:
    """A dataset of your own images, with the splits in the data or splits assigned by identity.

    Args:
        source: name of the data in messages.
        numbers: number of each identity, by name.
        listed: the samples by the split in the data.
        assignment: the split assignment.
        split_error: why the splits in the data cannot be used, if so; `split` raises it. Ignored with folds.
        skipped: a sentence for each kind of skipped file or folder.

    Attributes:
        own_images: makes `vireid data check` run the checks that published datasets do not need.
        samples: the images of all splits.
        parts: the samples by split.
        names: name of each identity, by number.
        split_name: name of this split assignment; empty if there is only one.
        split_error: what is wrong with the splits, or None.
        lookalike_error: an error if several names seem to be of one identity, or None; `split` and `divide` raise it.
        passed_over: the value of `skipped`.
    """

    own_images = True

    def __init__(
        self,
        source: str,
        numbers: Mapping[str, int],
        listed: Mapping[str, Sequence[Sample]],
        assignment: SplitAssignment,
        split_error: VireidError | None = None,
        skipped: Sequence[str] = (),
    ) -> None:
        self.source, self.passed_over = source, tuple(skipped)
        self.lookalike_error = lookalike_error(numbers, source)
        self.names = {number: name for name, number in numbers.items()}
        self.samples = tuple(sample for samples in listed.values() for sample in samples)
        self.split_name = assignment.split_name
        self.split_error = None if assignment.folds else split_error or _in_two_splits(listed, self.names, source)
        self.parts = dict(listed) if self.split_error else assignment.apply(listed, source)

    def split(self, name: str) -> tuple[Sample, ...]:
        """Returns the samples of a split, visible first, otherwise in data order.

        Raises:
            VireidError: if there is no such split, it lacks a modality, an identity is in training and in test, or two
                names seem to be of one identity.
        """
        for error in (self.lookalike_error, self.split_error):
            if error:
                raise error
        return require_split(self.parts, name, self.source)

    def divide(self, test: float, val: float = 0.0, seed: int = 0) -> dict[int, str]:
        """Assigns each identity to a split; see `splitting.divide`.

        Args:
            test: fraction of the identities to test on.
            val: fraction to validate on.
            seed: random seed.

        Raises:
            VireidError: if two names seem to be of one identity, or there are too few identities.
        """
        if self.lookalike_error:
            raise self.lookalike_error
        return divide(self.samples, test, val, seed, self.source)


def number_identities(names: Iterable[object]) -> dict[str, int]:
    """Returns a number for each name: the name itself if all are numbers below 2^31, else 1, 2, ... in sorted order."""
    unique = sorted({str(name) for name in names})
    numbers = {int(name) for name in unique if name.isascii() and name.isdecimal() and len(name) < 12}
    if len(numbers) == len(unique) and max(numbers, default=0) < MAX_NUMBER:
        return {name: int(name) for name in unique}
    return {name: number for number, name in enumerate(unique, 1)}


def require_split(splits: Mapping[str, Sequence[Sample]], name: str, source: str) -> tuple[Sample, ...]:
    """Returns the samples of a split, visible first.

    Args:
        splits: the samples by split.
        name: name of the split.
        source: name of the data in messages.

    Raises:
        VireidError: if there is no such split, it is empty, or it lacks a modality.
    """
    if name in splits and not splits[name]:
        identities = sorted({s.name for samples in splits.values() for s in samples})
        raise TooFew(
            f'{source} has only one identity, {identities[0]}, so the split {name!r} is empty'
            if len(identities) == 1
            else f'{source}: the split {name!r} is empty',
            allowed=f'at least {MIN_IDENTITIES} identities each for training and testing',
        )
    if name not in splits:
        raise UnknownName(
            f'{source} has no split {name!r}{did_you_mean(name, splits)}', allowed=', '.join(splits) or 'it is empty'
        )
    samples = tuple(sorted(splits[name], key=lambda s: MODALITIES.index(s.modality)))
    for modality in MODALITIES:
        if all(sample.modality != modality for sample in samples):
            raise TooFew(f'{source}: the split {name!r} has no {modality} images', todo=f'add {modality} images')
    return samples


def _in_two_splits(splits: Mapping[str, Sequence[Sample]], names: Mapping[int, str], source: str) -> VireidError | None:
    for part in ('train', 'val'):
        both = {s.identity for s in splits.get(part, ())} & {s.identity for s in splits.get('test', ())}
        if both:
            return WrongContent(
                f'{source}: {counted(len(both), "identity is", "identities are")} in {part} and in test: '
                f'{", ".join(sorted(names[number] for number in both)[:5])}',
                todo='keep each identity in one split; `vireid data split` creates such splits',
            )
    return None
