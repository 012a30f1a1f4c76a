"""Writes the files and runs the commands of docs/first-model.md in order, at small size, on few synthetic people."""

from __future__ import annotations

import re
import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from vireid.cli import main

GUIDE = Path(__file__).parents[1] / 'docs' / 'first-model.md'
BLOCKS = re.findall(r'```(python|console)\n(.*?)```', GUIDE.read_text(encoding='utf-8'), re.DOTALL)
TINY = ['images.size=[96,32]', 'images.workers=0', 'training.precision=32-true', 'protocol.trials=1']
SHORT = ['training.steps=1', 'sampler.identities=2', 'loggers=[{"type": "Console"}]']


def smaller(words: list[str]) -> list[str]:
    """Returns a command with fewer people, seeds, and steps."""
    if words[:2] == ['data', 'synth']:
        return [*words, '--ids', '12', '--images', '1', '--workers', '1']
    if words[0] != 'train':
        return words
    return [*words, '--cfg-options', *TINY, *([] if '--dry-run' in words else SHORT)]


@pytest.fixture(scope='module')
def session(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, list[str], str]]:
    """The commands, the lines of their output that the guide shows, and what they print."""
    session = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp('first'))
        for language, text in BLOCKS:
            if language == 'python':
                Path(text.partition('\n')[0].removeprefix('# ')).write_text(text, encoding='utf-8')
                continue
            for part in text.split('$ ')[1:]:
                command, *shown = part.splitlines()
                program, *words = shlex.split(command)
                assert program == 'vireid'
                with redirect_stdout(StringIO()) as printed:
                    status = main(smaller(words))
                assert status == int(words[:2] == ['config', 'diff']), command  # as `diff` does, 1 if they differ
                session.append((command, shown, printed.getvalue()))
    return session


@pytest.mark.long
def test_the_commands_print_what_the_guide_shows(session: list[tuple[str, list[str], str]]) -> None:
    for command, shown, printed in session:
        for line in shown:
            assert line in printed, command


@pytest.mark.long
def test_the_table_has_the_columns_and_rows_that_the_guide_explains(session: list[tuple[str, list[str], str]]) -> None:
    printed = next(printed for command, _, printed in session if '--work-dir runs/tffn' in command)
    explained = GUIDE.read_text(encoding='utf-8').split('| in the table | meaning |')[1].split('\n\n')[0]
    (title,) = (line for line in printed.splitlines() if line.startswith('sysu/agw'))
    assert title.split() == ['sysu/agw', 'R1', 'R5', 'R10', 'R20', 'mAP', 'mINP', 'valid', 'queries', 'trials']
    for name in ('95% interval', 'all', 'indoor', 'single-shot', 'valid queries', *title.split()[1:7]):
        assert f'`{name}`' in explained
        assert name in printed
