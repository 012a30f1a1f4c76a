"""Seeded, balanced assignment of identities to the training, validation and test splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Lt

from vireid.console.wording import counted
from vireid.core.types import MODALITIES, Sample
from vireid.errors import MissingKey, TooFew, VireidError, WrongValue

DRAWS = 100  # random assignments to try; the one with the most balanced images is used
MIN_IDENTITIES = 2  # minimum number of identities in each split
# purposes of random numbers, so that draws with the same seed are independent
FOLDS, VALIDATION, SUBSET, PARTS = range(4)
Folds = Annotated[int, Ge(2)] | None
Seed = Annotated[int, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True)
class SplitAssignment:
    """A split assignment that replaces or modifies the splits in the data.

    Args:
        folds: number of folds for K-fold cross-validation. The test split is one fold, and all other identities are
            trained on. None uses the splits in the data.
        fold: the fold to test on, 1 to `folds`.
        seed: random seed of the folds and of `val_share`.
        val_share: fraction of the training identities to use as the split `val` if there is none; 0 disables it.
        identities: number of training identities to keep, before `val_share` applies; None keeps all.
        draw: random seed of that subset. With the same draw, a smaller subset is part of a larger one.

    Raises:
        VireidError: if there is no such fold, or an argument has no effect.
    """

    folds: Folds = None
    fold: int = 1
    seed: Seed = 0
    val_share: Share = 0.0
    identities: int | None = None
    draw: Seed = 0

    def __post_init__(self) -> None:
        if self.folds is not None and not 1 <= self.fold <= self.folds:
            raise WrongValue(f'fold is {self.fold}', allowed=f'1 to {self.folds}, the number of folds')
        for name, idle, needed in (
            ('fold', self.fold != 1 and self.folds is None, 'folds, such as dataset.folds=5'),
            ('seed', self.seed != 0 and self.folds is None and not self.val_share, 'folds or val_share'),
            ('draw', self.draw != 0 and self.identities is None, 'identities'),
        ):
            if idle:
                raise MissingKey(f'{name} is {getattr(self, name)}, which has no effect', todo=f'also set {needed}')

    @property
    def split_name(self) -> str:
        """Name of the fold to test on; empty without `folds`."""
        if self.folds is None:
            return ''
        return f'fold {self.fold} of {self.folds}' + (f', seed {self.seed}' if self.seed else '')

    def apply(self, listed: Mapping[str, Sequence[Sample]], source: str) -> dict[str, tuple[Sample, ...]]:
        """Returns the samples by assigned split.

        Args:
            listed: the samples by the split in the data.
            source: name of the data in messages.

        Raises:
            VireidError: if there are too few identities.
        """
        parts = {name: tuple(samples) for name, samples in listed.items()}
        if self.folds is not None:
            samples = [s for part in parts.values() for s in part]
            test = _fold(samples, self.folds, self.fold, self.seed, source)
            parts = {'train': _without(samples, test), 'test': _only(samples, test)}
            parts['train'] = _only(parts['train'], matchable(parts['train']))
        if self.identities is not None:
            train = parts.get('train', ())
            parts['train'] = _only(train, _subset(train, self.identities, self.draw, source))
        if self.val_share and not parts.get('val'):
            train = parts.get('train', ())
            chosen = _validation(train, self.val_share, self.seed, source)
            parts |= {'train': _without(train, chosen), 'val': _only(train, chosen)}
        return parts


def divide(samples: Sequence[Sample], test: float, val: float, seed: int, source: str) -> dict[int, str]:
    """Assigns each identity to `train`, `val`, `test` or `unmatched`.

    Among the identities seen by the same set of cameras, each split gets its share to within one identity with two
    splits, and to within two with three. The images of each modality and camera are balanced as well as the best of
    `DRAWS` random assignments allows. Identities with images of only one modality are `unmatched` and not used.

    Args:
        samples: all images.
        test: fraction of the identities with both modalities to test on; at least two identities.
        val: fraction to validate on; at least two identities if above 0.
        seed: random seed.
        source: name of the data in messages.

    Raises:
        VireidError: if a fraction is out of range, or there are too few identities.
    """
    if not 0 < test < 1 or not 0 <= val < 1 or test + val >= 1:
        raise WrongValue(
            f'the shares are {test} for test and {val} for validation',
            allowed='test above 0, validation at least 0, and a sum below 1',
        )
    if seed < 0:
        raise WrongValue(f'seed is {seed}', allowed='0 or more')
    matched = matchable(samples)
    testing = max(MIN_IDENTITIES, round(test * len(matched)))
    validating = max(MIN_IDENTITIES, round(val * len(matched))) if val else 0
    training = len(matched) - testing - validating
    least = MIN_IDENTITIES * (3 if val else 2)
    if len(matched) < least:
        needed = f'two for each of {"train, val and test" if val else "train and test"}'
        raise _too_few(source, len(matched), least, needed, '')
    if training < MIN_IDENTITIES:
        raise _too_few_left(f'the shares are {test} for test and {val} for validation', training, len(matched))
    assigned = assign(samples, matched, spread((training, validating, testing)), (seed, PARTS))
    names = ('train', 'val', 'test')
    return dict.fromkeys(sorted({s.identity for s in samples}), 'unmatched') | {
        identity: names[part] for identity, part in assigned.items()
    }


def matchable(samples: Iterable[Sample]) -> list[int]:
    """Returns the sorted identities with images of both modalities; others have no cross-modality match."""
    seen: dict[int, set[str]] = defaultdict(set)
    for sample in samples:
        seen[sample.identity].add(sample.modality)
    return sorted(identity for identity, modalities in seen.items() if modalities.issuperset(MODALITIES))


def spread(sizes: Sequence[int]) -> np.ndarray:
    """Spreads parts of given sizes evenly along a line and returns the part of each place, (sum of sizes,) int.

    Each place goes to the part that is furthest behind its share.
    """
    total, given, line = sum(sizes), [0] * len(sizes), []
    for place in range(1, total + 1):
        part = max(range(len(sizes)), key=lambda j: sizes[j] * place - given[j] * total)
        given[part] += 1
        line.append(part)
    return np.array(line, dtype=np.int64)


def assign(
    samples: Iterable[Sample], identities: Sequence[int], places: np.ndarray, seed: Sequence[int]
) -> dict[int, int]:
    """Assigns each identity to a part.

    The identities are put in a random order in which those seen by the same set of cameras are adjacent. If the parts
    are spread evenly over the places, they are thus also spread evenly within these groups. Of `DRAWS` random orders,
    the result uses the one in which the parts are closest to their share of the images of each modality and camera.

    Args:
        samples: the images; those of other identities are ignored.
        identities: the N identities to assign.
        places: (N,) int, the part of each place in the order.
        seed: random seed.
    """
    index = {identity: row for row, identity in enumerate(identities)}
    counts: dict[tuple[str, int], np.ndarray] = defaultdict(lambda: np.zeros(len(index), dtype=np.int64))
    for sample in samples:
        if sample.identity in index:
            row = index[sample.identity]
            counts[sample.modality, sample.camera][row] += 1
            counts[sample.modality, -1][row] += 1  # of all cameras
    images = np.stack([counts[key] for key in sorted(counts)], axis=1)  # (N, columns)
    kinds: dict[tuple[bool, ...], list[int]] = defaultdict(list)
    for row, saw in enumerate((images > 0).tolist()):
        kinds[tuple(saw)].append(row)
    blocks = [kinds[kind] for kind in sorted(kinds)]
    shares = np.bincount(places) / len(places)
    rng = np.random.default_rng(tuple(seed))
    best, least = places, np.inf
    for _ in range(DRAWS):
        line = np.concatenate([rng.permutation(blocks[block]) for block in rng.permutation(len(blocks))])
        parts = np.empty_like(places)
        parts[line] = places
        got = np.stack([images[parts == part].sum(axis=0) for part in range(len(shares))])
        # rounded, as the last digits may differ between CPUs and must not decide
        cost = round(float(((got / images.sum(axis=0) - shares[:, None]) ** 2).sum()), 9)
        if cost < least:
            best, least = parts, cost
    return {identity: int(best[row]) for identity, row in index.items()}


def _fold(samples: Sequence[Sample], folds: int, fold: int, seed: int, source: str) -> set[int]:
    """Returns the identities of a fold."""
    matched = matchable(samples)
    if len(matched) < MIN_IDENTITIES * folds:
        most = len(matched) // MIN_IDENTITIES
        raise _too_few(
            source,
            len(matched),
            MIN_IDENTITIES * folds,
            f'two for each of {folds} folds',
            f'set folds to {most} or less' if most > 1 else '',
        )
    assigned = assign(samples, matched, np.arange(len(matched)) % folds, (seed, FOLDS))
    return {identity for identity, part in assigned.items() if part == fold - 1}


def _validation(train: Sequence[Sample], share: float, seed: int, source: str) -> set[int]:
    matched = matchable(train)
    count = max(MIN_IDENTITIES, round(share * len(matched)))
    if len(matched) - count < MIN_IDENTITIES:
        if len(matched) >= 2 * MIN_IDENTITIES:
            raise _too_few_left(f'val_share is {share}', len(matched) - count, len(matched))
        needed = 'two to train on and two for val_share'
        raise _too_few(f'{source}: its training split', len(matched), 2 * MIN_IDENTITIES, needed, 'set val_share to 0')
    assigned = assign(train, matched, spread((len(matched) - count, count)), (seed, VALIDATION))
    return {identity for identity, part in assigned.items() if part == 1}


def _subset(train: Sequence[Sample], count: int, draw: int, source: str) -> set[int]:
    """Returns the first `count` identities of a random order."""
    matched = matchable(train)
    if not MIN_IDENTITIES <= count <= len(matched):
        raise WrongValue(
            f'identities is {count}, but {source} has {len(matched)} training identities with both modalities',
            allowed=f'{MIN_IDENTITIES} to {len(matched)}, or None for all',
        )
    return set(np.random.default_rng((draw, SUBSET)).permutation(matched).tolist()[:count])


def _too_few_left(given: str, left: int, total: int) -> VireidError:
    return TooFew(
        f'{given}, which leaves {left} of {total} identities for training',
        allowed=f'at least {MIN_IDENTITIES} for training',
        todo='use a smaller share',
    )


def _too_few(source: str, count: int, least: int, needed: str, todo: str) -> VireidError:
    return TooFew(
        f'{source} has {counted(count, "identity", "identities")} with both modalities, which is too few',
        allowed=f'{least} or more: {needed}',
        todo=todo or 'see what is not read: vireid data check; or add images of more identities in both modalities',
    )


def _only(samples: Iterable[Sample], identities: Collection[int]) -> tuple[Sample, ...]:
    return tuple(s for s in samples if s.identity in identities)


def _without(samples: Iterable[Sample], identities: Collection[int]) -> tuple[Sample, ...]:
    return tuple(s for s in samples if s.identity not in identities)
