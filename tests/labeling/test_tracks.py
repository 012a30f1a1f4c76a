"""Which images are a track, and which tracks cannot be of one person."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vireid.errors import MissingKey, UnsafeFile, WrongContent
from vireid.labeling.tracks import find_crops, make_tracks, overlapping

HEAD = 'path,modality,camera,time,track,video,frame'


def put(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (8, 16)).save(folder / path)


def test_the_folder_of_an_image_is_its_track(tmp_path):
    put(tmp_path, 'visible/cam1/0007/a.jpg', 'visible/cam1/0007/b.jpg', 'infrared/cam3/lobby/1/c.jpg')
    found, tracks, notes = find_crops(tmp_path)
    assert tracks == {
        'visible/cam1/0007/a.jpg': 'visible/cam1/0007',
        'visible/cam1/0007/b.jpg': 'visible/cam1/0007',
        'infrared/cam3/lobby/1/c.jpg': 'infrared/cam3/lobby/1',
    }
    assert {(image.modality, image.camera) for image in found} == {('visible', '1'), ('infrared', '3')}
    assert notes == []


def test_a_folder_with_both_modalities_is_no_track(make_track):
    images = {m: make_track('x', modality=m, images=n).images for m, n in (('visible', 4), ('infrared', 2))}
    entries = [dataclasses.replace(e, path=f'all/{e.path}') for own in images.values() for e in own]
    index = SimpleNamespace(entries=SimpleNamespace(all=lambda: entries), vectors=np.eye(10, dtype=np.float16))
    tracks, _ = make_tracks(index, {entry.path: 'all' for entry in entries})
    assert sorted(track.modality for track in tracks) == ['infrared'] * 2 + ['visible'] * 4
    entries = [e for e in entries if e.modality == 'visible' or e is entries[-1]]  # one of five may be a wrong guess
    (track,), _ = make_tracks(index, {entry.path: 'all' for entry in entries})
    assert track.modality == 'visible'


@pytest.mark.parametrize('path', ['a.jpg', 'visible/a.jpg', 'visible/cam2/a.jpg', 'Infrared/camera_03/a.jpg'])
def test_an_image_in_the_folder_of_a_modality_or_a_camera_is_a_track_of_its_own(tmp_path, path):
    put(tmp_path, path)
    assert find_crops(tmp_path)[1] == {path: path}


def test_the_table_says_the_tracks_and_images_that_it_does_not_list_are_told(tmp_path):
    put(tmp_path, 'x/a.jpg', 'x/b.jpg', 'x/c.jpg')
    rows = [
        'x/a.jpg,infrared,3,2026-11-29T08:00:00.250,cam3/1,v,1',
        'x/b.jpg,infrared,3,2026-11-29T08:00:01,cam3/2,v,9',
    ]
    (tmp_path / 'crops.csv').write_text('\n'.join([HEAD, *rows]))
    found, tracks, notes = find_crops(tmp_path)
    assert tracks == {'x/a.jpg': 'cam3/1', 'x/b.jpg': 'cam3/2'}
    assert found[0].time == '2026-11-29 08:00:00.250000'
    assert notes == [f'1 image of {tmp_path} not in crops.csv and left out']


@pytest.mark.parametrize(
    ('rows', 'kind', 'fact'),
    [
        (['a.jpg,visible,1,,t,v,1', 'a.jpg,visible,1,,u,v,2'], WrongContent, r'a\.jpg'),
        (['a.jpg,visible,1,,,v,1'], WrongContent, 'line 2'),
        (['../other.jpg,visible,1,,t,v,1'], UnsafeFile, r'other\.jpg'),
        (['/etc/passwd.jpg,visible,1,,t,v,1'], UnsafeFile, r'/etc/passwd\.jpg'),
        (['a.jpg,thermal,1,,t,v,1'], WrongContent, "modality .*'thermal'"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, rows, kind, fact):
    put(tmp_path, 'crops/a.jpg', 'other.jpg')
    (tmp_path / 'crops/crops.csv').write_text('\n'.join([HEAD, *rows]))
    with pytest.raises(kind, match=fact):
        find_crops(tmp_path / 'crops')


def test_a_table_without_tracks_is_refused(tmp_path):
    put(tmp_path, 'a.jpg')
    (tmp_path / 'crops.csv').write_text('path,modality\na.jpg,visible\n')
    with pytest.raises(MissingKey, match=r'\btrack\b'):
        find_crops(tmp_path)


def test_tracks_of_one_camera_that_overlap_in_time_show_two_people(make_track):
    tracks = [
        make_track('a', at=0, images=10), make_track('b', at=5, images=10), make_track('c', at=14),
        make_track('other camera', camera='2', at=5), make_track('no time'), make_track('one image', at=3, images=1),
    ]  # fmt: skip
    apart = overlapping(tracks)
    assert {(i, j) for i in range(6) for j in range(6) if apart[i, j] and i < j} == {(0, 1)}
    assert (apart == apart.T).all()
