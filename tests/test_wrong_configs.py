"""What `vireid config check` says of configs that people get wrong, to the letter.

Each of `fixtures/wrong_configs/*.py` is such a config; beside it lies the answer. After a change that was meant:
`python tests/test_wrong_configs.py` writes the answers anew; read the difference before you commit it.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import pytest

from vireid.cli import main

FOLDER = Path(__file__).parent / 'fixtures' / 'wrong_configs'
FILES = sorted(FOLDER.glob('*.py'))


def answer(path: Path) -> tuple[int, str]:
    """Returns exit status and output of a check of one file, from its folder."""
    out = io.StringIO()
    with contextlib.chdir(FOLDER), contextlib.redirect_stdout(out):
        status = main(['config', 'check', path.name])
    return status, out.getvalue()


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_the_answer_is_the_one_that_is_written_down(path: Path) -> None:
    status, text = answer(path)
    assert status == 2
    assert text == path.with_suffix('.txt').read_text()


def test_there_are_twenty_and_each_says_where_and_what_instead() -> None:
    assert len(FILES) >= 20
    for path in FILES:
        text = path.with_suffix('.txt').read_text()
        assert text.startswith(path.name)
        assert 'allowed: ' in text or 'next: ' in text
        assert 'Traceback' not in text


@pytest.mark.parametrize(
    ('name', 'by_building'), [('unreachable_task', True), ('parameter_group', False), ('everything', False)]
)
def test_training_is_refused_with_the_same_words(name: str, by_building: bool, capsys) -> None:
    """What only building tells comes with what is wrong with the data; names and types come before any is read."""
    with contextlib.chdir(FOLDER):
        assert main(['train', f'{name}.py', '--data-root', '/no/such/folder']) == 2
    lines = capsys.readouterr().err.removeprefix('error: ').splitlines()
    wanted = [line[2:] for line in (FOLDER / f'{name}.txt').read_text().splitlines()[1:]]
    assert lines[: len(wanted)] == wanted
    data = lines[len(wanted) :]
    assert data[:1] == (['dataset: SYSU-MM01: /no/such/folder does not exist'] if by_building else [])


def test_checking_writes_nothing_and_says_nothing_else(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(['config', 'check', 'vireid::tffn_demo.py', 'vireid::dmcf_demo.py', str(FOLDER / 'everything.py')]) == 2
    out, error = capfd.readouterr()
    assert error == ''
    assert 'vireid::tffn_demo.py: no errors\nvireid::dmcf_demo.py: no errors\n' in out
    assert os.listdir(tmp_path) == []


if __name__ == '__main__':
    for file in FILES:
        file.with_suffix('.txt').write_text(answer(file)[1])
