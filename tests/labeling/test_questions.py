"""What is asked: the surest first, no impossible proposal, and an end."""

from __future__ import annotations

import numpy as np
import pytest

from vireid.labeling.journal import answer
from vireid.labeling.questions import CANDIDATES, DOUBTFUL, Questions

PEOPLE = 6


@pytest.fixture
def scene(make_people, make_track):
    """Six people with two tracks in each modality; the features of a modality differ by noise."""
    rng = np.random.default_rng(0)
    tracks, features, owners = [], [], []
    for person in range(PEOPLE):
        for modality, noise in (('visible', 0.02), ('infrared', 0.06)):
            for walk in range(2):
                tracks.append(make_track(f'{person} {modality} {walk}', modality))
                features.append(np.eye(PEOPLE * 4)[person] + noise * rng.normal(size=PEOPLE * 4))
                owners.append(person)
    array = np.array(features, dtype=np.float32)
    array /= np.linalg.norm(array, axis=1, keepdims=True)
    return make_people(tracks, array), Questions(array), owners


def reply(people, question, owners):
    def owner(rows):
        return owners[rows[0]]

    def named(rows):
        return [people.tracks[row].name for row in rows]

    same = [named(c.rows) for c in question.candidates if owner(c.rows) == owner(question.rows)]
    other = [named(c.rows) for c in question.candidates if owner(c.rows) != owner(question.rows)]
    people.apply(answer('people', named(question.rows), same=same, different=other))


def test_the_first_candidate_is_the_surest_and_there_are_at_most_ten(scene):
    people, questions, owners = scene
    question = questions.next(people)
    sure = [candidate.certainty for candidate in question.candidates]
    assert question.kind == 'match'
    assert sure == sorted(sure, reverse=True)
    assert question.certainty == sure[0]
    assert len(sure) <= CANDIDATES
    assert owners[question.candidates[0].rows[0]] == owners[question.rows[0]]


def test_six_people_take_few_answers(scene):
    people, questions, owners = scene
    answers = 0
    while (question := questions.next(people)) is not None:
        reply(people, question, owners)
        answers += 1
    assert answers <= len(owners) / 3
    assert sorted(people.members()) == [tuple(range(4 * person, 4 * person + 4)) for person in range(PEOPLE)]


def test_the_answers_teach_what_a_similarity_means(scene):
    people, questions, _ = scene
    before = questions.next(people).certainty
    for first, second in ((0, 4), (8, 12), (16, 20)):  # different people, told apart by their similarity
        people.apply(answer('people', [people.tracks[first].name], different=[[people.tracks[second].name]]))
    for person in range(3):
        names = [people.tracks[4 * person + place].name for place in range(4)]
        people.apply(answer('people', names[:2], same=[names[2:]]))
    assert questions.next(people).certainty > before


def test_whoever_overlaps_in_time_or_was_told_apart_is_not_proposed(make_people, make_track):
    tracks = [make_track('a', at=0, images=9), make_track('b', at=4, images=9), make_track('x', 'infrared')]
    features = np.tile(np.eye(4, dtype=np.float32)[0], (3, 1))
    people, questions = make_people(tracks, features), Questions(features)
    question = questions.next(people)
    assert [c.rows for c in question.candidates] == [(2,)]
    people.apply(answer('people', 'a', different=['x']))
    assert questions.next(people).rows != (0,)


def test_a_skipped_question_comes_again_once_at_the_end(scene):
    people, questions, _ = scene
    first = questions.next(people).rows
    skipped = []
    while (question := questions.next(people)) is not None:
        skipped.append(question.rows)
        people.apply(answer('skip', [people.tracks[row].name for row in question.rows]))
    assert skipped[0] == first
    assert len(skipped) == 2 * len(people.members())
    assert set(skipped[: len(skipped) // 2]) == set(skipped[len(skipped) // 2 :])


def test_one_modality_only(make_people, make_track):
    tracks = [make_track(name) for name in 'abc']
    features = np.eye(4, dtype=np.float32)[[0, 0, 1]]
    people, questions = make_people(tracks, features), Questions(features)
    asked = 0
    while (question := questions.next(people)) is not None and asked < 9:
        people.apply(answer('people', [tracks[row].name for row in question.rows], different=[
            [tracks[row].name for row in candidate.rows] for candidate in question.candidates
        ]))  # fmt: skip
        asked += 1
    assert asked <= 2


def test_a_doubtful_group_is_shown_alone(make_people, make_track):
    tracks = [make_track('a'), make_track('b'), make_track('x', 'infrared')]
    features = np.array([[1, 0], [0.2, 0.98], [0.9, 0.3]], dtype=np.float32)
    people = make_people(tracks)
    people.groups[:] = [0, 0, 1]
    question = Questions(features).next(people)
    assert (question.kind, question.rows) == ('group', (0, 1))
    assert question.certainty < DOUBTFUL
