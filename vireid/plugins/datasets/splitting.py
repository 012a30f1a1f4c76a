"""Identities dealt to training, validation and test: seeded, and alike in who was seen by which camera."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vireid.core.errors import VireidError
from vireid.core.types import MODALITIES, Sample

DRAWS = 100  # dealings tried; the one that shares out the images best is taken
LEAST = 2  # identities that training, validation and test need each
# what random numbers are for: two draws of one seed have nothing in common
FOLDS, VALIDATION, SUBSET, PARTS = range(4)


@dataclass(frozen=True)
class Dealing:
    """Which identities train, validate and test, where a reader's own splits are not to be used as they are.

    Args:
        folds: the test split is one of so many equally large groups of all identities, and the others are trained on;
            None takes the splits that the data have.
        trial: which group, 1 to `folds`.
        seed: of the groups, and of `val_share`.
        val_share: share of the training identities that becomes the split `val`, unless there is one; 0 for none.
        identities: how many training identities are kept, before some of them validate; None keeps all.
        draw: seed of those. Of one draw, the fewer are among the more.

    Raises:
        VireidError: if an argument is out of range, or would have no effect.
    """

    folds: int | None = None
    trial: int = 1
    seed: int = 0
    val_share: float = 0.0
    identities: int | None = None
    draw: int = 0

    def __post_init__(self) -> None:
        if self.folds is not None and self.folds < 2:
            raise VireidError(f'folds is {self.folds}', allowed='2 or more, or None')
        if self.folds is not None and not 1 <= self.trial <= self.folds:
            raise VireidError(f'trial is {self.trial}', allowed=f'1 to {self.folds}, as folds says')
        if not 0 <= self.val_share < 1:
            raise VireidError(f'val_share is {self.val_share}', allowed='0 (none) up to, but not, 1')
        for name in ('seed', 'draw'):
            if getattr(self, name) < 0:
                raise VireidError(f'{name} is {getattr(self, name)}', allowed='0 or more')
        for name, idle, needed in (
            ('trial', self.trial != 1 and self.folds is None, 'folds, such as dataset.folds=5'),
            ('seed', self.seed != 0 and self.folds is None and not self.val_share, 'folds or val_share'),
            ('draw', self.draw != 0 and self.identities is None, 'identities'),
        ):
            if idle:
                raise VireidError(
                    f'{name} is {getattr(self, name)}, and nothing is drawn by it', todo=f'give {needed} beside it'
                )

    @property
    def split_name(self) -> str:
        """Names the group that is tested; empty without `folds`."""
        if self.folds is None:
            return ''
        return f'fold {self.trial} of {self.folds}' + (f', seed {self.seed}' if self.seed else '')

    def apply(self, listed: Mapping[str, Sequence[Sample]], source: str) -> dict[str, tuple[Sample, ...]]:
        """Returns the samples by split.

        Args:
            listed: the samples by split, as the data have it.
            source: names the data in messages.

        Raises:
            VireidError: if there are too few identities.
        """
        parts = {name: tuple(samples) for name, samples in listed.items()}
        if self.folds is not None:
            samples = [s for found in parts.values() for s in found]
            test = _fold(samples, self.folds, self.trial, self.seed, source)
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
    """Returns `train`, `val`, `test` or `unmatched` for each identity.

    Each split gets its share of the identities that the same cameras saw - with two splits to within one identity, with
    three to within two - and, as well as a hundred draws can, of the images of each modality and camera. Identities
    that one modality alone saw have no match: they are `unmatched`, and used for nothing.

    Args:
        samples: all images.
        test: share of the identities of both modalities that are tested, at least two of them.
        val: share that validates, at least two if above 0.
        seed: of the draws.
        source: names the data in messages.

    Raises:
        VireidError: if a share is out of range, or there are too few identities.
    """
    if not 0 < test < 1 or not 0 <= val < 1 or test + val >= 1:
        raise VireidError(
            f'the shares are {test} for test and {val} for validation',
            allowed='test above 0, validation 0 or more, and something left for training',
        )
    if seed < 0:
        raise VireidError(f'seed is {seed}', allowed='0 or more')
    matched = matchable(samples)
    testing = max(LEAST, round(test * len(matched)))
    validating = max(LEAST, round(val * len(matched))) if val else 0
    training = len(matched) - testing - validating
    least = LEAST * (3 if val else 2)
    if len(matched) < least:
        needed = f'two for each of {"train, val and test" if val else "train and test"}'
        raise _too_few(source, len(matched), least, needed, '')
    if training < LEAST:
        raise _nobody_left(f'the shares are {test} for test and {val} for validation', training, len(matched))
    dealt = deal(samples, matched, spread((training, validating, testing)), (seed, PARTS))
    names = ('train', 'val', 'test')
    return dict.fromkeys(sorted({s.identity for s in samples}), 'unmatched') | {
        identity: names[part] for identity, part in dealt.items()
    }


def matchable(samples: Iterable[Sample]) -> list[int]:
    """Returns the identities that both modalities saw, ascending: the others cannot be found, so not be scored."""
    seen: dict[int, set[str]] = defaultdict(set)
    for sample in samples:
        seen[sample.identity].add(sample.modality)
    return sorted(identity for identity, modalities in seen.items() if modalities.issuperset(MODALITIES))


def spread(sizes: Sequence[int]) -> np.ndarray:
    """Returns the part of each place in a line, (sum of sizes,) int: next is the part furthest behind its share."""
    total, given, line = sum(sizes), [0] * len(sizes), []
    for place in range(1, total + 1):
        part = max(range(len(sizes)), key=lambda j: sizes[j] * place - given[j] * total)
        given[part] += 1
        line.append(part)
    return np.array(line, dtype=np.int64)


def deal(
    samples: Iterable[Sample], identities: Sequence[int], places: np.ndarray, seed: Sequence[int]
) -> dict[int, int]:
    """Returns the part of each identity.

    The identities stand in a line, those that the same cameras saw beside each other, otherwise at random. Parts that
    are spread evenly along the line are so among those, too. Of `DRAWS` lines the one is taken whose parts have most
    nearly their share of the images of each modality and camera.

    Args:
        samples: the images; those of other identities are passed over.
        identities: who is dealt, N of them.
        places: (N,) int, the part that each place of the line belongs to.
        seed: of the draws.
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
        # rounded, so that the last digit, which processors may differ in, does not choose
        cost = round(float(((got / images.sum(axis=0) - shares[:, None]) ** 2).sum()), 9)
        if cost < least:
            best, least = parts, cost
    return {identity: int(best[row]) for identity, row in index.items()}


def _fold(samples: Sequence[Sample], folds: int, trial: int, seed: int, source: str) -> set[int]:
    """Returns the identities of a group."""
    matched = matchable(samples)
    if len(matched) < LEAST * folds:
        most = len(matched) // LEAST
        raise _too_few(
            source,
            len(matched),
            LEAST * folds,
            f'two for each of {folds} folds',
            f'set folds to {most} or less' if most > 1 else '',
        )
    dealt = deal(samples, matched, np.arange(len(matched)) % folds, (seed, FOLDS))
    return {identity for identity, part in dealt.items() if part == trial - 1}


def _validation(train: Sequence[Sample], share: float, seed: int, source: str) -> set[int]:
    matched = matchable(train)
    count = max(LEAST, round(share * len(matched)))
    if len(matched) - count < LEAST:
        if len(matched) >= 2 * LEAST:
            raise _nobody_left(f'val_share is {share}', len(matched) - count, len(matched))
        needed = 'two to train on and two for val_share'
        raise _too_few(f'{source}: its training split', len(matched), 2 * LEAST, needed, 'set val_share to 0')
    dealt = deal(train, matched, spread((len(matched) - count, count)), (seed, VALIDATION))
    return {identity for identity, part in dealt.items() if part == 1}


def _subset(train: Sequence[Sample], count: int, draw: int, source: str) -> set[int]:
    """Returns the first `count` identities of a random order."""
    matched = matchable(train)
    if not LEAST <= count <= len(matched):
        raise VireidError(
            f'identities is {count}, and {source} has {len(matched)} to train on that both modalities saw',
            allowed=f'{LEAST} to {len(matched)}, or None for all',
        )
    return set(np.random.default_rng((draw, SUBSET)).permutation(matched).tolist()[:count])


def _nobody_left(given: str, left: int, found: int) -> VireidError:
    return VireidError(
        f'{given}, which leaves {left} of {found} people for training',
        allowed=f'{LEAST} or more for training',
        todo='take a smaller share',
    )


def _too_few(source: str, found: int, least: int, needed: str, todo: str) -> VireidError:
    return VireidError(
        f'{source} has {found} identities that both modalities saw, which is too few',
        allowed=f'{least} or more: {needed}',
        todo=todo or 'add images of more people in both modalities',
    )


def _only(samples: Iterable[Sample], identities: Collection[int]) -> tuple[Sample, ...]:
    return tuple(s for s in samples if s.identity in identities)


def _without(samples: Iterable[Sample], identities: Collection[int]) -> tuple[Sample, ...]:
    return tuple(s for s in samples if s.identity not in identities)
