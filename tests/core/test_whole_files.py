"""Small files are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.core.files import write_whole


def test_text_and_bytes_are_written_into_a_folder_that_is_made(tmp_path):
    write_whole(tmp_path / 'new/folder/a.txt', 'ä')
    write_whole(tmp_path / 'b.bin', b'\x00')
    assert (tmp_path / 'new/folder/a.txt').read_bytes() == 'ä'.encode()
    assert (tmp_path / 'b.bin').read_bytes() == b'\x00'
    assert [p.name for p in (tmp_path / 'new/folder').iterdir()] == ['a.txt']  # nothing of writing is left


def test_a_failure_on_the_way_leaves_what_was_there(tmp_path, monkeypatch):
    write_whole(tmp_path / 'a.txt', 'before')

    def full(self: Path, content: bytes) -> int:
        raise OSError('the disk is full')

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(OSError, match='full'):
        write_whole(tmp_path / 'a.txt', 'after')
    assert (tmp_path / 'a.txt').read_text() == 'before'
