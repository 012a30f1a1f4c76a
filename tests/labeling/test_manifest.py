"""The table: who is in it, how it is split, and that the dataset reads it."""

from __future__ import annotations

import csv

import pytest

from vireid.labeling.journal import answer
from vireid.labeling.manifest import write_manifest
from vireid.plugins.datasets.manifest import Manifest


@pytest.fixture
def named(make_people, make_track):
    """Makes people 0 to `count` - 1 with a visible and an infrared track each, the last one first in time."""

    def make(count, times=True, cameras=('1', '3')):
        tracks = []
        for person in range(count):
            at = 1000 * (count - person) if times else None
            tracks += [make_track(f'v{person}', camera=cameras[0], at=at)]
            tracks += [make_track(f'i{person}', 'infrared', cameras[1], at and at + 100)]
        people = make_people(tracks)
        for person in range(count):
            people.apply(answer('people', [f'v{person}'], same=[[f'i{person}']]))
        return people

    return make


def read(folder):
    return list(csv.DictReader((folder / 'manifest.csv').open()))


def test_the_people_who_were_seen_first_train_and_the_others_test(named, tmp_path):
    summary = write_manifest(named(5), tmp_path)
    split = {row['identity']: row['split'] for row in read(tmp_path)}
    assert split == {
        'person-005': 'train', 'person-004': 'train', 'person-003': 'train', 'person-002': 'test', 'person-001': 'test',
    }  # fmt: skip
    times = {part: [row['time'] for row in read(tmp_path) if row['split'] == part] for part in ('train', 'test')}
    assert max(times['train']) < min(times['test'])
    assert 'split by time: 3 people first seen from 2026-11-29 08:16' in summary.split


def test_the_dataset_reads_it(named, tmp_path):
    write_manifest(named(4), tmp_path)
    dataset = Manifest(str(tmp_path))
    assert len({sample.identity for sample in dataset.split('train')}) == 2
    assert {(sample.modality, sample.camera) for sample in dataset.split('test')} == {('visible', 1), ('infrared', 3)}


def test_without_times_people_are_split_as_by_vireid_data_split(named, tmp_path):
    summary = write_manifest(named(6, times=False), tmp_path)
    splits = {row['identity']: row['split'] for row in read(tmp_path)}
    dataset = Manifest(str(tmp_path))
    assert splits == {dataset.names[number]: split for number, split in dataset.divide(0.5).items()}
    assert 'not all times are known' in summary.split


def test_too_few_people_to_test_all_train(named, tmp_path):
    summary = write_manifest(named(3), tmp_path)
    assert {row['split'] for row in read(tmp_path)} == {'train'}
    assert 'at least 4 people' in summary.split


def test_a_person_of_one_modality_is_told_and_left_out(named, tmp_path):
    people = named(2)
    people.apply(answer('people', ['v0'], different=[['i0']], despite=True))
    summary = write_manifest(people, tmp_path)
    assert summary.lacking == [('person-001', 'visible')]
    assert {row['identity'] for row in read(tmp_path)} == {'person-002'}
    assert 'left out, with one modality: person-001 (only visible)' in summary.lines()


def test_nobody(make_people, make_track, tmp_path):
    summary = write_manifest(make_people([make_track('a')]), tmp_path)
    assert read(tmp_path) == []
    assert summary.lines() == ['0 people of both modalities, 0 images']


def test_cameras_without_a_number_get_one(named, tmp_path):
    summary = write_manifest(named(2, cameras=('lobby', 'cam3')), tmp_path)
    assert {(row['modality'], row['camera']) for row in read(tmp_path)} == {('visible', '4'), ('infrared', '3')}
    assert summary.notes == ['cameras without a number were assigned one: lobby (visible) 4']


def test_two_people_with_the_same_image_are_told(make_people, make_track, tmp_path):
    from dataclasses import replace

    tracks = [make_track('v0'), make_track('i0', 'infrared'), make_track('v1'), make_track('i1', 'infrared')]
    copy = replace(tracks[2].images[0], digest=tracks[0].images[1].digest)
    tracks[2] = replace(tracks[2], images=(copy, *tracks[2].images[1:]))
    people = make_people(tracks)
    for person in '01':
        people.apply(answer('people', [f'v{person}'], same=[[f'i{person}']]))
    (note,) = write_manifest(people, tmp_path).notes
    assert note.startswith('person-001 and person-002 have the same image')
