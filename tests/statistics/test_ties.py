"""Means over all orders of ties: every order tried, laws known in closed form, numbers by hand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.statistics.ties import (
    Groups,
    average_precision,
    identities_ahead,
    identities_law,
    images_ahead,
    images_law,
    inverse_penalty,
)

RANKS = (1, 2, 3, 5)


def all_lists(groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """Every order of a list of persons whose neighbors tie in groups."""
    orders = [list(itertools.permutations(group)) for group in groups]
    return [list(itertools.chain(*chosen)) for chosen in itertools.product(*orders)]


def metrics(persons: Sequence[int]) -> tuple[Fraction, Fraction, int, int]:
    """AP, inverse negative penalty, images and identities ahead of the first match, of a list; the match is 0."""
    places = [place for place, person in enumerate(persons, start=1) if person == 0]
    ap = sum(Fraction(n, place) for n, place in enumerate(places, start=1)) / len(places)
    before = persons[: places[0] - 1]
    return ap, Fraction(len(places), places[-1]), len(before), len(set(before))


def mean(values: Sequence[Fraction | int]) -> float:
    return float(Fraction(sum(values)) / len(values))


def arrays(lists: Sequence[Sequence[Sequence[int]]]) -> tuple[np.ndarray, np.ndarray]:
    """Where groups start, and persons, of lists of one length."""
    persons = np.array([list(itertools.chain(*groups)) for groups in lists])
    starts = np.array([[place == 0 for group in groups for place in range(len(group))] for groups in lists])
    return starts, persons


@st.composite
def tied_lists(draw: st.DrawFn) -> list[list[list[int]]]:
    """A few lists of one length, each with a match, in groups of up to five."""
    length = draw(st.integers(1, 7))
    found = []
    for _ in range(draw(st.integers(1, 3))):
        persons = draw(st.lists(st.integers(0, 3), min_size=length, max_size=length).filter(lambda p: 0 in p))
        groups: list[list[int]] = []
        for person in persons:
            if groups and len(groups[-1]) < 5 and draw(st.booleans()):
                groups[-1].append(person)
            else:
                groups.append([person])
        found.append(groups)
    return found


@settings(max_examples=100)
@given(tied_lists())
def test_every_order_tried(lists: list[list[list[int]]]) -> None:
    starts, persons = arrays(lists)
    match = persons == 0
    groups = Groups.of(starts, match)
    ap, inp = average_precision(groups), inverse_penalty(groups)
    by_image = images_ahead(groups, RANKS, persons.shape[1])
    by_identity = identities_ahead(groups, match, persons, 4, RANKS)
    counts = {'image': np.zeros(persons.shape[1]), 'identity': np.zeros(4)}
    for row, own in enumerate(lists):
        tried = [metrics(persons) for persons in all_lists(own)]
        assert ap[row] == pytest.approx(mean([found[0] for found in tried]), abs=1e-12)
        assert inp[row] == pytest.approx(mean([found[1] for found in tried]), abs=1e-12)
        for kind, found, place in (('image', by_image, 2), ('identity', by_identity, 3)):
            ahead = [one[place] for one in tried]
            assert found.mean[row] == pytest.approx(mean(ahead), abs=1e-12)
            assert found.within[row] == pytest.approx([mean([a < k for a in ahead]) for k in RANKS], abs=1e-12)
            for number in ahead:
                counts[kind][number] += 1 / len(ahead)
    assert by_image.counts == pytest.approx(counts['image'], abs=1e-12)
    assert by_identity.counts == pytest.approx(counts['identity'], abs=1e-12)


def test_by_hand() -> None:
    # persons 2 | 0 1 1 0 | 3 | 0 4: the match is 0
    starts, persons = arrays([[[2], [0, 1, 1, 0], [3], [0, 4]]])
    groups = Groups.of(starts, persons == 0)
    # places 2 to 5 hold a match in 1 of 2 orders, behind 0, 1/3, 2/3 and 1 others; places 7 and 8 in 1 of 2, behind two
    four = sum(Fraction(1, 2) * (1 + Fraction(j, 3)) / (2 + j) for j in range(4))
    two = Fraction(1, 2) * (Fraction(3, 7) + Fraction(3, 8))
    assert average_precision(groups) == pytest.approx([float((four + two) / 3)], abs=1e-15)
    assert inverse_penalty(groups) == pytest.approx([float((Fraction(3, 7) + Fraction(3, 8)) / 2)], abs=1e-15)
    # the first match is 2nd, 3rd or 4th, in 3, 2 and 1 of the 6 pairs of places
    images = images_ahead(groups, (1, 2, 3, 4), 8)
    assert images.within == pytest.approx(np.array([[0, 1 / 2, 5 / 6, 1]]), abs=1e-15)
    assert images.mean == pytest.approx([1 + 1 / 2 * 0 + 2 / 6 + 2 / 6], abs=1e-15)
    # person 1 is ahead too unless a match comes first: in half of the orders
    found = identities_ahead(groups, persons == 0, persons, 5, (1, 2, 3))
    assert found.within == pytest.approx(np.array([[0, 1 / 2, 1]]), abs=1e-15)
    assert found.mean == pytest.approx([3 / 2], abs=1e-15)


@pytest.mark.parametrize(('matches', 'others'), [(1, 0), (1, 7), (3, 40), (40, 3), (10, 2000)])
def test_the_law_of_images_is_that_of_combinations(matches: int, others: int) -> None:
    whole = comb(matches + others, matches)
    exact = [float(Fraction(comb(matches + others - 1 - b, matches - 1), whole)) for b in range(others + 1)]
    assert images_law(matches, others) == pytest.approx(exact, rel=1e-11, abs=1e-15)


def law_of_equal_identities(matches: int, count: int, identities: int) -> np.ndarray:
    """With c images of each of P identities: C(P, b) (m / c) B(m / c + P - b, b + 1), one b after the other."""
    share = Fraction(matches, count)
    law = [share / (share + identities)]
    for b in range(1, identities + 1):
        law.append(law[-1] * (identities - b + 1) / (share + identities - b))
    return np.array([float(p) for p in law])


@pytest.mark.parametrize(
    ('matches', 'count', 'identities'),
    [
        (1, 1, 1),  # up to 512 images: exact
        (4, 3, 95),  # SYSU-MM01, single-shot
        (1, 1, 400),
        (40, 30, 95),  # multi-shot
        (10, 10, 205),  # RegDB, were it counted so
        (500, 50, 50),
        (1, 9999, 1),
        (3000, 10, 3),
    ],
)
def test_groups_of_any_size_are_integrated_to_1e_13(matches: int, count: int, identities: int) -> None:
    law = identities_law(matches, (count,) * identities)
    expected = law_of_equal_identities(matches, count, identities)
    assert np.abs(law - expected).max() < 1e-13
    assert np.abs(law.cumsum() - expected.cumsum()).max() < 1e-13


def test_laws_of_unequal_identities_sum_to_one_and_have_the_mean_in_closed_form() -> None:
    rng = np.random.default_rng(0)
    for matches, identities, most in ((1, 5, 3), (4, 95, 5), (17, 95, 40), (2, 300, 60)):
        counts = tuple(sorted(rng.integers(1, most + 1, identities).tolist(), reverse=True))
        law = identities_law(matches, counts)
        assert law.sum() == pytest.approx(1, abs=1e-13)
        expected = sum(count / (matches + count) for count in counts)
        assert law @ np.arange(len(law)) == pytest.approx(expected, abs=1e-10)
