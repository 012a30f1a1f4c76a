"""A folder that is labeled: what is kept, and who may label it."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import faults
import numpy as np
import pytest

from vireid.errors import AlreadyExists, InUse, NotReady, UnsafeFile, WriteFailed, WrongContent
from vireid.labeling import labels as labels_module
from vireid.labeling.labels import Labels, embed, only_one
from vireid.labeling.tracks import find_crops, make_tracks
from vireid.launch.launch import train
from vireid.search.embedder import load
from vireid.search.index import Index
from vireid.synth import synthesize

PLUGIN = Path(faults.__file__)


@pytest.fixture(scope='module')
def embedded(tmp_path_factory):
    """Ten people, an image of each and each of six cameras, embedded by a tiny model."""
    folder = tmp_path_factory.mktemp('crops')
    synthesize(folder / 'people', layout='sysu', ids=10, seed=0, images=1, workers=1)
    train(faults.experiment(folder / 'people'), folder / 'run')
    checkpoint = folder / 'run/checkpoints/last.pt'
    found, _, _ = find_crops(folder / 'people')
    with only_one(folder / 'people'):
        embed(folder / 'people', found, load(checkpoint, [PLUGIN]), str(checkpoint), [PLUGIN], lambda *given: None)
    return folder / 'people'


@pytest.fixture
def folder(embedded):
    """The same, without answers."""
    for name in ('label/answers.jsonl', 'manifest.csv'):
        (embedded / name).unlink(missing_ok=True)
    return embedded


@pytest.fixture(autouse=True)
def telling(monkeypatch):
    """Features that tell the person, who is the folder of an image; those of the tiny model do not."""

    def make(index, names):
        tracks, _ = make_tracks(index, names)
        people = [int(track.name.rpartition('/')[2]) if '/' in track.name else 0 for track in tracks]
        return tracks, np.eye(1000, dtype=np.float32)[people]

    monkeypatch.setattr(labels_module, 'make_tracks', make)


def open_labels(folder):
    return Labels(folder, Index.open(folder / 'label/index', [PLUGIN]), find_crops(folder)[1])


def answer_as_told(labels, times):
    """Answers by the names of the folders, which are those of the people; returns what was asked."""
    for _ in range(times):
        question = labels.question()
        if question is None:
            return

        def person(rows):
            return labels.tracks[rows[0]].name.rpartition('/')[2]

        same = [c.rows for c in question.candidates if person(c.rows) == person(question.rows)]
        other = [c.rows for c in question.candidates if person(c.rows) != person(question.rows)]
        labels.answer('people', question.rows, same, other, despite=True)


def read(folder):
    return list(csv.DictReader((folder / 'manifest.csv').open()))


def test_the_table_is_written_after_each_answer_and_the_state_is_the_same_after_a_restart(folder):
    labels = open_labels(folder)
    answer_as_told(labels, 12)
    assert labels.summary.people >= 2
    assert labels.summary.images == len(read(folder))
    again = open_labels(folder)
    assert sorted(again.people.members()) == sorted(labels.people.members())
    assert again.question() == labels.question()


def test_a_table_that_a_crash_left_out_is_written_at_the_next_start(folder):
    answer_as_told(open_labels(folder), 6)
    before = read(folder)
    (folder / 'manifest.csv').unlink()
    open_labels(folder)
    assert read(folder) == before


def test_undo_leads_to_the_same_question_again(folder):
    labels = open_labels(folder)
    answer_as_told(labels, 3)
    question, groups = labels.question(), sorted(labels.people.members())
    labels.answer('skip', question.rows)
    labels.answer('people', question.rows)
    labels.undo()
    labels.undo()
    assert (labels.question(), sorted(labels.people.members())) == (question, groups)
    for _ in range(3):
        labels.undo()
    assert read(folder) == []
    with pytest.raises(NotReady):
        labels.undo()


def test_an_answer_that_cannot_be_saved_does_not_hold(folder, monkeypatch):
    labels = open_labels(folder)
    groups = sorted(labels.people.members())

    def fail(given):
        raise WriteFailed('full')

    monkeypatch.setattr(labels.journal, 'append', fail)
    with pytest.raises(WriteFailed, match='full'):
        labels.answer('people', (0,), [(1,)])
    assert sorted(labels.people.members()) == groups


def test_answers_hold_when_crops_are_added_or_gone(folder, tmp_path):
    labels = open_labels(folder)
    labels.answer('people', (0,), [(1,), (2,)])
    names = find_crops(folder)[1]
    gone = next(path for path, track in names.items() if track == labels.tracks[1].name)
    other = Labels(folder, labels.index, {path: track for path, track in names.items() if path != gone})
    rows = next(rows for rows in other.people.members() if len(rows) > 1)
    assert [other.tracks[row].name for row in rows] == [labels.tracks[0].name, labels.tracks[2].name]


def test_one_modality_is_told(folder):
    names = {path: track for path, track in find_crops(folder)[1].items() if track.startswith(('cam3', 'cam6'))}
    labels = Labels(folder, Index.open(folder / 'label/index', [PLUGIN]), names)
    assert labels.notes() == ['there are no visible crops, and a person needs both modalities']
    labels.answer('people', (0,), [(1,)])
    assert labels.summary.lacking == [('person-001', 'infrared')]


def test_a_folder_is_labeled_by_one_process_at_a_time(folder):
    with only_one(folder), pytest.raises(InUse, match=re.escape(str(folder))), only_one(folder):
        pass
    with only_one(folder):  # the next one
        pass


def test_a_table_of_somebody_else_is_not_overwritten(tmp_path):
    (tmp_path / 'manifest.csv').write_text('mine')
    with pytest.raises(AlreadyExists, match=r'manifest\.csv'), only_one(tmp_path):
        pass
    assert not (tmp_path / 'label').exists()


def test_a_track_of_two_cameras_is_refused(folder):
    names = dict.fromkeys(find_crops(folder)[1], 'one')
    with pytest.raises(WrongContent, match=r' one .* 1 and 2'):
        Labels(folder, Index.open(folder / 'label/index', [PLUGIN]), names)


def test_nothing_is_written_through_a_link_in_a_received_folder(tmp_path):
    crops, elsewhere = tmp_path / 'crops', tmp_path / 'elsewhere'
    crops.mkdir()
    elsewhere.mkdir()
    for link in ('label', 'label/index'):
        (crops / link).symlink_to(elsewhere)
        with pytest.raises(UnsafeFile, match=re.escape(str(crops))), only_one(crops):
            pass
        assert not list(elsewhere.iterdir())
        (crops / 'label').is_symlink() and (crops / 'label').unlink()
        (crops / 'label').mkdir(exist_ok=True)
