"""The helpers of published datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.errors import MissingFile, MissingKey, VireidError, WrongContent
from vireid.plugins.datasets.raw_folder import images, read_id_list, require_root


def require(root: Path | str | None, *looked_for: str) -> Path:
    return require_root(
        root, dataset='Faces', looked_for=looked_for or ('cam1',), obtain='ask Ann for Faces', synth='faces'
    )


def test_images_are_sorted_by_name_whatever_order_they_were_made_in(tmp_path: Path) -> None:
    for name in ('0010.jpg', '0002.jpg', '0001.jpg'):
        (tmp_path / name).touch()
    assert images(tmp_path) == [str(tmp_path / name) for name in ('0001.jpg', '0002.jpg', '0010.jpg')]


@pytest.mark.parametrize('name', ['a.jpg', 'a.JPG', 'a.jpeg', 'a.png', 'a.bmp', 'a.tif', 'a.TIFF', 'a.webp'])
def test_an_image_is_known_by_its_ending_in_any_case(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert images(tmp_path) == [str(tmp_path / name)]


@pytest.mark.parametrize('name', ['Thumbs.db', '.DS_Store', 'desktop.ini', '._a.jpg', '.jpg', 'a.txt', 'a.jpg~', 'jpg'])
def test_other_files_are_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert images(tmp_path) == []


def test_a_folder_named_like_an_image_is_no_image(tmp_path: Path) -> None:
    (tmp_path / 'old.jpg').mkdir()
    assert images(tmp_path) == []


def test_a_link_to_an_image_is_an_image(tmp_path: Path) -> None:
    (tmp_path / 'far').mkdir()
    (tmp_path / 'far' / 'image').touch()
    (tmp_path / 'near').mkdir()
    (tmp_path / 'near' / 'a.jpg').symlink_to(tmp_path / 'far' / 'image')
    assert images(tmp_path / 'near') == [str(tmp_path / 'near' / 'a.jpg')]


def test_identities_come_sorted_as_numbers(tmp_path: Path) -> None:
    (tmp_path / 'ids.txt').write_text('10,9,100,0007\n')
    assert read_id_list(tmp_path / 'ids.txt') == [7, 9, 10, 100]


def test_0007_and_7_are_the_same_identity(tmp_path: Path) -> None:
    (tmp_path / 'ids.txt').write_text('0007,7')
    with pytest.raises(WrongContent, match=r'ids\.txt .* 7 '):
        read_id_list(tmp_path / 'ids.txt')


def test_a_missing_id_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=str(tmp_path / 'ids.txt')) as caught:
        read_id_list(tmp_path / 'ids.txt')
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_the_root_is_returned_if_it_has_everything(tmp_path: Path) -> None:
    (tmp_path / 'cam1').mkdir()
    (tmp_path / 'exp').mkdir()
    (tmp_path / 'exp' / 'ids.txt').touch()
    assert require(str(tmp_path), 'cam1', 'exp/ids.txt') == tmp_path


@pytest.mark.parametrize(('given', 'kind'), [(None, MissingKey), ('nowhere', MissingFile), ('.', MissingFile)])
def test_every_refusal_says_what_is_looked_for_how_to_get_it_and_how_to_do_without(
    given: str | None, kind: type[VireidError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match='Faces') as caught:
        require(given, 'cam1', 'exp')
    error = caught.value
    assert error.allowed is not None
    assert 'cam1, exp' in error.allowed
    assert error.todo is not None
    assert 'ask Ann for Faces' in error.todo  # as given
    assert '--layout faces' in error.todo


def test_all_missing_entries_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / 'cam2').mkdir()
    with pytest.raises(MissingFile, match=r' cam1, cam3 \(.* cam2\)'):
        require(tmp_path, 'cam1', 'cam2', 'cam3')
