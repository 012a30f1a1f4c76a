"""What readers of one's own images share: identities numbered by name, and splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vireid.boundary.names import alike
from vireid.core.errors import VireidError, did_you_mean
from vireid.core.types import MODALITIES, Sample
from vireid.plugins.datasets.splitting import LEAST, Dealing, divide

LARGEST = 2**31
SPLITS = ('train', 'val', 'test')


class OwnImages:
    """A reader of one's own images, with the splits they have or others dealt by identity.

    Args:
        source: names the data in messages.
        numbers: by name, the identities.
        listed: the samples by split, as the data have it.
        dealing: which identities are used for what.
        fault: why the splits cannot be used as they are, if so; `split` raises it. With folds they are not used.
        passed: a sentence for each kind of thing in the data folder that is not read.

    Attributes:
        own_images: tells `vireid data check` that the images are one's own: it looks for what a published dataset need
            not be asked for.
        samples: all images, whatever their split.
        parts: the samples by split.
        names: by number, what the user calls the identities.
        split_name: which split of several this is; empty if it is the only one.
        fault: what is wrong with the splits; None if nothing is.
        alike: the error that names look like those of one person; `split` and `divide` raise it. None if none do.
        passed_over: what was passed over, as given.
    """

    own_images = True

    def __init__(
        self,
        source: str,
        numbers: Mapping[str, int],
        listed: Mapping[str, Sequence[Sample]],
        dealing: Dealing,
        fault: VireidError | None = None,
        passed: Sequence[str] = (),
    ) -> None:
        self.source, self.passed_over = source, tuple(passed)
        self.alike = alike(numbers, source)
        self.names = {number: name for name, number in numbers.items()}
        self.samples = tuple(sample for samples in listed.values() for sample in samples)
        self.split_name = dealing.split_name
        self.fault = None if dealing.folds else fault or _in_two_splits(listed, self.names, source)
        self.parts = dict(listed) if self.fault else dealing.apply(listed, source)

    def split(self, name: str) -> tuple[Sample, ...]:
        """Returns the samples of a split, visible first, otherwise in the order of the data.

        Raises:
            VireidError: if there is no such split, it lacks a modality, an identity is in training and in test, or two
                names seem to be one person's.
        """
        for error in (self.alike, self.fault):
            if error:
                raise error
        return require_split(self.parts, name, self.source)

    def divide(self, test: float, val: float = 0.0, seed: int = 0) -> dict[int, str]:
        """Returns a split for each identity, as `splitting.divide` deals them.

        Raises:
            VireidError: if two names seem to be one person's, or there are too few identities.
        """
        if self.alike:
            raise self.alike
        return divide(self.samples, test, val, seed, self.source)


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
    if name in splits and not splits[name]:
        people = sorted({s.name for found in splits.values() for s in found})
        raise VireidError(
            f'{source} has one person, {people[0]}, so its split {name!r} is empty'
            if len(people) == 1
            else f'{source}: the split {name!r} is empty',
            allowed=f'{LEAST} people or more in training, and in testing',
        )
    if name not in splits:
        raise VireidError(
            f'{source} has no split {name!r}{did_you_mean(name, splits)}', allowed=', '.join(splits) or 'it is empty'
        )
    samples = tuple(sorted(splits[name], key=lambda s: MODALITIES.index(s.modality)))
    for modality in MODALITIES:
        if all(sample.modality != modality for sample in samples):
            raise VireidError(f'{source}: the split {name!r} has no {modality} image', todo='add some')
    return samples


def _in_two_splits(splits: Mapping[str, Sequence[Sample]], names: Mapping[int, str], source: str) -> VireidError | None:
    for part in ('train', 'val'):
        both = {s.identity for s in splits.get(part, ())} & {s.identity for s in splits.get('test', ())}
        if both:
            return VireidError(
                f'{source}: {len(both)} identities are in {part} and in test: '
                f'{", ".join(sorted(names[number] for number in both)[:5])}',
                todo='keep each person in one split; `vireid data split` makes such splits',
            )
    return None
