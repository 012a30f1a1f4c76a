"""Small files are whole or not there."""

from __future__ import annotations

import os

import pytest

from vireid.boundary.writing import open_whole, remove_parts, write_whole


def test_text_and_bytes_are_written_into_a_folder_that_is_made(tmp_path):
    write_whole(tmp_path / 'new/folder/a.txt', 'ä')
    write_whole(tmp_path / 'b.bin', b'\x00')
    assert (tmp_path / 'new/folder/a.txt').read_bytes() == 'ä'.encode()
    assert (tmp_path / 'b.bin').read_bytes() == b'\x00'
    assert [p.name for p in (tmp_path / 'new/folder').iterdir()] == ['a.txt']  # nothing of writing is left


def test_a_failure_on_the_way_leaves_what_was_there(tmp_path):
    write_whole(tmp_path / 'a.txt', 'before')

    def write() -> None:
        with open_whole(tmp_path / 'a.txt') as file:
            file.write(b'half')
            raise OSError('the disk is full')

    with pytest.raises(OSError, match='full'):
        write()
    assert (tmp_path / 'a.txt').read_text() == 'before'
    assert [p.name for p in tmp_path.iterdir()] == ['a.txt']


def test_a_folder_in_the_place_of_the_file_is_named_as_the_user_knows_it(tmp_path):
    (tmp_path / 'a.txt').mkdir()
    with pytest.raises(IsADirectoryError) as refused:
        write_whole(tmp_path / 'a.txt', 'text')
    assert (refused.value.filename, refused.value.filename2) == (str(tmp_path / 'a.txt'), None)
    assert [p.name for p in tmp_path.iterdir()] == ['a.txt']


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / '.a.txt.0123456789abcdef.part').write_text('half')
    (tmp_path / 'b.part').write_text('of somebody else')
    remove_parts(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ['b.part']


@pytest.mark.skipif(not hasattr(os, 'O_NOFOLLOW'), reason='links are POSIX')
class TestLinks:
    def test_a_link_in_place_of_the_file_is_replaced_and_not_followed(self, tmp_path):
        (tmp_path / 'mine').write_text('precious')
        (tmp_path / 'report.html').symlink_to(tmp_path / 'mine')
        write_whole(tmp_path / 'report.html', 'new')
        assert (tmp_path / 'mine').read_text() == 'precious'
        assert not (tmp_path / 'report.html').is_symlink()

    def test_the_name_while_writing_cannot_be_foreseen(self, tmp_path):
        names = set()
        for _ in range(2):
            with open_whole(tmp_path / 'a.txt'):
                names |= {p.name for p in tmp_path.glob('.*')}
        assert len(names) == 2

    def test_a_link_that_stands_at_that_name_is_refused(self, tmp_path, monkeypatch):
        (tmp_path / 'mine').write_text('precious')
        monkeypatch.setattr('secrets.token_hex', lambda length: 'known')
        (tmp_path / '.a.txt.known.part').symlink_to(tmp_path / 'mine')
        with pytest.raises(FileExistsError):
            write_whole(tmp_path / 'a.txt', 'new')
        assert (tmp_path / 'mine').read_text() == 'precious'
