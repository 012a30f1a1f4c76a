"""What answers do to the groups, and which contradict."""

from __future__ import annotations

import re

import pytest

from vireid.errors import Conflict, WrongValue
from vireid.labeling.journal import answer
from vireid.labeling.people import Contradiction


@pytest.fixture
def people(make_people, make_track):
    """Tracks a, b, c, visible, and x, y, infrared; b and c overlap in time."""
    visible = [make_track('a', at=0), make_track('b', at=100, images=9), make_track('c', at=105)]
    return make_people([*visible, *(make_track(name, 'infrared', '3') for name in 'xy')])


def names(people):
    return {tuple(people.tracks[row].name for row in rows): people.name(rows) for rows in people.members()}


def test_an_answer_joins_and_confirms(people):
    people.apply(answer('people', 'a', same=['x'], different=['y']))
    assert names(people) == {('a', 'x'): 'person-001', ('b',): '', ('c',): '', ('y',): ''}
    people.apply(answer('people', 'y'))
    assert names(people)['y',] == 'person-002'


def test_a_later_answer_about_one_track_takes_the_confirmed_others_along(people):
    people.apply(answer('people', 'a', same=['x']))
    people.apply(answer('people', 'b', same=['a']))
    assert names(people)['a', 'b', 'x'] == 'person-001'


def test_tracks_that_do_not_belong_leave_the_group(people):
    people.apply(answer('people', 'a', same=['b', 'x']))
    people.apply(answer('people', 'ax', different=['b'], despite=True))
    assert names(people) == {('a', 'x'): 'person-001', ('b',): '', ('c',): '', ('y',): ''}
    assert people.apart[0, 1]


def test_a_proposed_track_that_an_answer_does_not_mention_does_not_come_along(people):
    people.groups[:2] = 0
    people.apply(answer('people', 'a', same=['x']))
    assert names(people) == {('a', 'x'): 'person-001', ('b',): '', ('c',): '', ('y',): ''}


@pytest.mark.parametrize(
    ('before', 'given', 'fact'),
    [
        ([], answer('people', 'b', same=['c']), r'\bb and c\b'),
        ([answer('people', 'a', different=['x'])], answer('people', 'a', same=['x']), r'\ba and x\b'),
        ([answer('people', 'a', different=['x'])], answer('people', 'y', same=['a', 'x']), r'\ba and x\b'),
        ([answer('people', 'a', same=['x'])], answer('people', 'a', different=['x']), r'\bx\b'),
        (
            [answer('name', 'a', name='anna'), answer('name', 'x', name='ben')],
            answer('people', 'a', same=['x']), 'anna and ben',
        ),
    ],
)  # fmt: skip
def test_an_answer_that_contradicts_is_refused_until_it_is_confirmed(people, before, given, fact):
    for earlier in before:
        people.apply(earlier)
    state = names(people)
    with pytest.raises(Contradiction, match=fact):
        people.apply(given)
    assert names(people) == state
    people.apply({**given, 'despite': True})
    assert names(people) != state


def test_two_journals_that_contradict_are_told_when_they_are_read_together(people):
    mine, other = answer('people', 'a', same=['x']), answer('people', 'a', different=['x'])
    people.replay([(1, mine), (2, other)])
    assert names(people)['a', 'x'] == 'person-001'
    assert 'answer 2' in people.refused[0]


def test_tracks_that_are_gone_are_ignored(people):
    people.apply(answer('people', ['a', 'gone'], same=[['gone too'], ['x']]))
    people.apply(answer('people', ['gone']))
    assert names(people)['a', 'x'] == 'person-001'


def test_a_name_is_of_one_person(people):
    people.apply(answer('name', 'a', name=' Anna '))
    people.apply(answer('people', 'a', same=['x']))
    assert names(people)['a', 'x'] == 'Anna'
    for taken in ('anna', 'Anna'):
        with pytest.raises(Conflict, match='Anna') as caught:
            people.apply(answer('name', 'b', name=taken))
        assert not isinstance(caught.value, Contradiction)
    people.apply(answer('name', 'ax', name='Anne'))
    assert names(people)['a', 'x'] == 'Anne'


@pytest.mark.parametrize('name', ['', ' ', '=1+1', '-x', '@x', 'a/b', '..', 'a\nb', 'x' * 61, '<b>'])
def test_a_name_is_a_plain_name(people, name):
    with pytest.raises(WrongValue, match=re.escape(repr(name.strip()[:60]))):
        people.apply(answer('name', 'a', name=name))
