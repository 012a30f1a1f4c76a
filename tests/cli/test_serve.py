"""`vireid serve`: what it says before it listens."""

from __future__ import annotations

from vireid.cli import main


def test_no_index(tmp_path, capsys):
    assert main(['serve', str(tmp_path)]) == 2
    assert 'is not a finished index' in capsys.readouterr().err


def test_a_short_token(tmp_path, capsys):
    assert main(['serve', str(tmp_path), '--token', 'abc']) == 2
    assert 'at least 16 characters' in capsys.readouterr().err


def test_a_missing_index_is_not_answered_with_another_command(tmp_path, capsys):
    assert main(['serve', str(tmp_path / 'none')]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / 'none') in error
    assert 'vireid search' not in error
