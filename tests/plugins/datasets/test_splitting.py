"""The assignment of identities to splits is disjoint, complete, deterministic and balanced over cameras."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vireid.core.types import INFRARED, VISIBLE, Sample
from vireid.errors import TooFew, VireidError, WrongValue
from vireid.plugins.datasets.splitting import SplitAssignment, assign, divide, matchable, spread

VIEWS = ((VISIBLE, 1), (VISIBLE, 2), (INFRARED, 2), (INFRARED, 3))


def sightings(images: list[dict[tuple[str, int], int]]) -> list[Sample]:
    """Returns samples of identities 1, 2, ... from their number of images by modality and camera."""
    return [
        Sample(f'{identity}/{modality}/{camera}/{shot}.jpg', identity, camera, modality)
        for identity, views in enumerate(images, 1)
        for (modality, camera), count in views.items()
        for shot in range(count)
    ]


people = st.lists(st.dictionaries(st.sampled_from(VIEWS), st.integers(1, 4), min_size=1), min_size=8, max_size=25).map(
    sightings
)


def kinds(samples: list[Sample]) -> dict[frozenset, list[int]]:
    """The identities of both modalities by the cameras that saw them."""
    seen = defaultdict(set)
    for sample in samples:
        seen[sample.identity].add((sample.modality, sample.camera))
    found = defaultdict(list)
    for identity in matchable(samples):
        found[frozenset(seen[identity])].append(identity)
    return found


def test_places_of_a_line_go_to_the_part_furthest_behind() -> None:
    assert spread((2, 2)).tolist() == [0, 1, 0, 1]
    assert spread((3, 1)).tolist() == [0, 0, 1, 0]
    assert spread((4, 0, 2)).tolist() == [0, 2, 0, 0, 2, 0]


def test_identities_of_one_modality_cannot_be_matched() -> None:
    assert matchable(sightings([{VIEWS[0]: 1, VIEWS[3]: 1}, {VIEWS[0]: 1, VIEWS[1]: 1}, {VIEWS[2]: 2}])) == [1]


@given(people, st.integers(0, 3), st.sampled_from([0.3, 0.5, 0.6]))
def test_every_identity_is_in_one_split_and_each_split_gets_its_share(
    samples: list[Sample], seed: int, share: float
) -> None:
    matched = matchable(samples)
    if len(matched) < 6:
        return
    found = divide(samples, share, 0, seed, 'mine')
    assert set(found) == {s.identity for s in samples}
    assert all(found[identity] == 'unmatched' for identity in set(found) - set(matched))
    tested = [identity for identity in matched if found[identity] == 'test']
    assert len(tested) == round(share * len(matched))
    for some in kinds(samples).values():
        count = sum(found[identity] == 'test' for identity in some)
        assert abs(count - len(some) * len(tested) / len(matched)) <= 1
    assert divide(samples, share, 0, seed, 'mine') == found
    assert divide(samples[::-1], share, 0, seed, 'mine') == found


@given(people, st.integers(0, 3))
def test_with_a_validation_split_shares_are_within_two(samples: list[Sample], seed: int) -> None:
    matched = matchable(samples)
    if len(matched) < 8:
        return
    found = divide(samples, 0.4, 0.25, seed, 'mine')
    sizes = Counter(found[identity] for identity in matched)
    assert sizes['test'] == round(0.4 * len(matched))
    assert sizes['val'] == max(2, round(0.25 * len(matched)))
    for some in kinds(samples).values():
        counts = Counter(found[identity] for identity in some)
        for split, size in sizes.items():
            assert abs(counts[split] - len(some) * size / len(matched)) <= 2


@given(people, st.integers(2, 5), st.integers(0, 3))
def test_folds_are_disjoint_complete_and_equal(samples: list[Sample], folds: int, seed: int) -> None:
    matched = matchable(samples)
    if len(matched) < 2 * folds:
        return
    tested = []
    for fold in range(1, folds + 1):
        parts = SplitAssignment(folds, fold, seed).apply({'train': samples}, 'mine')
        train, test = ({s.identity for s in parts[name]} for name in ('train', 'test'))
        assert not train & test
        assert sorted(train | test) == matched  # the others have no cross-modality match
        tested.append(test)
    assert sorted(identity for fold in tested for identity in fold) == matched
    assert max(map(len, tested)) - min(map(len, tested)) <= 1
    for some in kinds(samples).values():
        counts = [len(fold & set(some)) for fold in tested]
        assert max(counts) - min(counts) <= 1


@given(people, st.integers(0, 3))
def test_validation_is_a_part_of_the_identities_that_are_kept(samples: list[Sample], draw: int) -> None:
    if len(matchable(samples)) < 6:
        return
    assignment = SplitAssignment(val_share=0.3, identities=5, draw=draw)
    parts = assignment.apply({'train': samples}, 'mine')
    train, val = ({s.identity for s in parts[name]} for name in ('train', 'val'))
    assert len(train) == 3
    assert len(val) == 2
    assert not train & val
    assert (train | val) <= set(matchable(samples))
    assert assignment.apply({'train': samples[::-1]}, 'mine')['val'] == parts['val'][::-1]


def test_images_are_shared_out_too() -> None:
    # two identities with ten images and two with one: one of each kind in both parts
    samples = sightings([{VIEWS[0]: count, VIEWS[3]: count} for count in (10, 10, 1, 1)])
    for seed in range(5):
        found = divide(samples, 0.5, 0, seed, 'mine')
        assert {found[1], found[2]} == {found[3], found[4]} == {'train', 'test'}


def test_the_seed_chooses() -> None:
    samples = sightings([{VIEWS[0]: 2, VIEWS[3]: 2}] * 12)
    assigned = {tuple(divide(samples, 0.5, 0, seed, 'mine').items()) for seed in range(20)}
    assert len(assigned) > 15


def test_the_assignment_follows_the_places() -> None:
    samples = sightings([{VIEWS[0]: 1, VIEWS[3]: 1}] * 5)
    assigned = assign(samples, [1, 2, 3, 4], np.array([0, 0, 0, 1]), (0,))  # 5 is ignored
    assert sorted(assigned) == [1, 2, 3, 4]
    assert sorted(assigned.values()) == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ('count', 'test', 'val', 'kind', 'facts'),
    [
        (3, 0.5, 0.0, TooFew, ['mine', ' 3 ', ' 4 ', 'train and test']),
        (5, 0.5, 0.2, TooFew, ['mine', ' 5 ', ' 6 ', 'train, val and test']),
        (6, 0.9, 0.0, TooFew, [' 0.9 ', ' 1 of 6 ']),
        (8, 0.0, 0.0, WrongValue, [' 0.0 ']),
        (8, 0.6, 0.4, WrongValue, [' 0.6 ', ' 0.4 ']),
    ],
)
def test_too_few_people_or_shares_that_do_not_fit_are_named(
    count: int, test: float, val: float, kind: type[VireidError], facts: list[str]
) -> None:
    samples = sightings([{VIEWS[0]: 1, VIEWS[3]: 1}] * count + [{VIEWS[0]: 1}])
    with pytest.raises(kind) as caught:
        divide(samples, test, val, 0, 'mine')
    for fact in facts:
        assert fact in str(caught.value)


def test_four_people_are_enough() -> None:
    found = divide(sightings([{VIEWS[0]: 1, VIEWS[3]: 1}] * 4), 0.5, 0, 0, 'mine')
    assert Counter(found.values()) == {'train': 2, 'test': 2}
    with pytest.raises(WrongValue, match=r'seed .*-1'):
        divide([], 0.5, 0, -1, 'mine')
