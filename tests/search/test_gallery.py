"""Which images a gallery has, and what is known about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.errors import MissingFile, MissingKey, TooFew, WrongContent, WrongValue
from vireid.search.gallery import GalleryImage, find_gallery


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'x')


def test_folders_say_the_modality_and_the_camera(tmp_path):
    touch(tmp_path, 'infrared/cam3/7/a.jpg', 'visible/b.PNG', 'Camera_04/c.jpg', 'd.tiff', 'notes.txt', '.hidden/e.jpg')
    root, found = find_gallery(tmp_path)
    assert root == tmp_path
    assert [(Path(f.path).name, f.modality, f.camera) for f in found] == [
        ('d.tiff', '', ''), ('c.jpg', '', '4'), ('a.jpg', 'infrared', '3'), ('b.PNG', 'visible', ''),
    ]  # fmt: skip


def test_thumbnails_of_a_network_drive_are_no_images_of_a_gallery(tmp_path):
    touch(tmp_path, 'cam1/a.jpg', 'cam1/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg', '__MACOSX/cam1/._a.jpg', '#recycle/b.jpg')
    assert [Path(f.path).name for f in find_gallery(tmp_path)[1]] == ['a.jpg']


def test_images_in_other_formats_are_counted_and_named(tmp_path, capsys):
    touch(tmp_path, 'a.jpg', 'x/b.HEIC', 'x/c.heic', 'd.dng', 'notes.txt')
    assert len(find_gallery(tmp_path)[1]) == 1
    told = capsys.readouterr().err
    assert told.startswith('warning: ')
    assert '2 .heic, 1 .dng' in told
    assert 'notes' not in told


@pytest.mark.parametrize('given', ['visible/Cam 4', 'visible/Cam 4/a.jpg', 'visible', 'visible/x'])
def test_the_folder_that_is_given_says_it_too(tmp_path, monkeypatch, given):
    touch(tmp_path, 'visible/Cam 4/a.jpg', 'visible/x/infrared/cam3/b.jpg')
    _, found = find_gallery(tmp_path / given)
    known = {Path(f.path).name: (f.modality, f.camera) for f in found}
    assert known.items() <= {'a.jpg': ('visible', '4'), 'b.jpg': ('infrared', '3')}.items()
    if (tmp_path / given).is_dir():
        monkeypatch.chdir(tmp_path / given)
        assert [(f.modality, f.camera) for f in find_gallery(Path())[1]] == [(f.modality, f.camera) for f in found]


def test_spellings_of_a_camera_are_one_in_a_table_and_refused_in_folders(tmp_path):
    cameras = ['5', 'cam5', 'Cam 05', '5.0', 'back door']
    names = [f'{number}.jpg' for number in range(len(cameras))]
    touch(tmp_path, *names)
    lines = [f'{name},{camera}\n' for name, camera in zip(names, cameras, strict=True)]
    (tmp_path / 'all.csv').write_text('path,camera\n' + ''.join(lines))
    assert [f.camera for f in find_gallery(tmp_path / 'all.csv')[1]] == ['5', '5', '5', '5', 'back door']
    touch(tmp_path, 'site1/cam1/a.jpg', 'site2/cam_01/a.jpg')  # they may be the same camera
    find_gallery(tmp_path)
    touch(tmp_path, 'site2/Camera 1/a.jpg')
    with pytest.raises(WrongContent, match=r'site2 .* 1: Camera 1 .*cam_01'):
        find_gallery(tmp_path)


def test_flags_win(tmp_path):
    touch(tmp_path, 'infrared/cam3/a.jpg')
    _, (image,) = find_gallery(tmp_path, 'visible', 'door')
    assert (image.modality, image.camera) == ('visible', 'door')


def test_a_table(tmp_path):
    touch(tmp_path, 'a.jpg', 'b.jpg')
    (tmp_path / 'all.csv').write_text('path,modality,camera,time\na.jpg,Infrared, 4 ,2026-11-29 22:41\nb.jpg,,,\n')
    root, found = find_gallery(tmp_path / 'all.csv')
    assert root == tmp_path
    assert found == [
        GalleryImage(str(tmp_path / 'a.jpg'), 'infrared', '4', '2026-11-29 22:41:00'),
        GalleryImage(str(tmp_path / 'b.jpg')),
    ]


@pytest.mark.parametrize(
    ('table', 'kind', 'fact'),
    [
        ('file\na.jpg\n', MissingKey, r"'path'.*\bfile\b"),
        ('path,modality\na.jpg,thermal\n', WrongContent, "line 2: modality .*'thermal'"),
        ('path\na.jpg\na.jpg\n', WrongContent, r'line 3: a\.jpg'),
        ('path\na.jpg\nx/../a.jpg\n', WrongContent, r'line 3: x/\.\./a\.jpg'),
        ('path,time\na.jpg,noon\n', WrongValue, "line 2: time .*'noon'"),
        ('path,time\n"",\n', WrongContent, 'line 2: path'),
    ],
)
def test_a_wrong_table(tmp_path, table, kind, fact):
    touch(tmp_path, 'a.jpg')
    (tmp_path / 'all.csv').write_text(table)
    with pytest.raises(kind, match=fact):
        find_gallery(tmp_path / 'all.csv')


def test_files_have_their_common_folder(tmp_path):
    touch(tmp_path, 'x/a.jpg', 'y/b.jpg')
    root, found = find_gallery([tmp_path / 'x/a.jpg', tmp_path / 'y/b.jpg'])
    assert root == tmp_path
    assert len(found) == 2


def test_a_link_to_a_parent_folder_ends(tmp_path):
    touch(tmp_path, 'x/a.jpg')
    (tmp_path / 'x/up').symlink_to(tmp_path)
    assert len(find_gallery(tmp_path)[1]) == 1


@pytest.mark.parametrize(('name', 'kind'), [('none', MissingFile), ('empty', TooFew)])
def test_no_images(tmp_path, name, kind):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(kind, match=name):
        find_gallery(tmp_path / name)
