"""docs/plugins.md, done as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vireid.cli import main

GUIDE = Path(__file__).parents[1] / 'docs' / 'plugins.md'
BLOCKS = re.findall(r'```(python|console|toml)\n(.*?)```', GUIDE.read_text(), re.DOTALL)


def files() -> dict[str, str]:
    """Returns the guide's files by name: blocks that begin with it."""
    return {text.partition('\n')[0].removeprefix('# '): text for language, text in BLOCKS if language != 'console'}


def commands() -> list[tuple[str, list[str]]]:
    """Returns each command and the lines that are shown after it."""
    typed = ''.join(text for language, text in BLOCKS if language == 'console')
    found = [part.splitlines() for part in typed.split('$ ')[1:]]
    return [(command, shown) for command, *shown in found]


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guide's files in a folder; the entry point as pip would write it."""
    folder = tmp_path_factory.mktemp('guide')
    for name, text in files().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    info = folder / 'acme_tools-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: acme-tools\nVersion: 1.0\n')
    entry = files()['entry_points'].splitlines()[-1].replace('"', '')
    (info / 'entry_points.txt').write_text(f'[vireid.plugins]\n{entry}\n')
    return folder


@pytest.mark.parametrize(('command', 'shown'), commands(), ids=[command[:60] for command, _ in commands()])
def test_a_command_prints_what_is_shown(folder, monkeypatch, capsys, command, shown):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    assert shown
    words = shlex.split(command)
    assert words[0] == 'vireid'
    main(words[1:])
    printed = capsys.readouterr()
    for line in shown:
        assert line in printed.out + printed.err


def test_its_test_passes(folder):
    found = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'test_acme.py'],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert '4 passed' in found.stdout, found.stdout


def test_registering_is_one_line_for_a_class():
    for name in ('acme.py', 'acme_heads.py', 'acme_model.py', 'acme_step.py'):
        lines = [line for line in files()[name].splitlines() if line.strip().startswith('add(')]
        assert len(lines) == files()[name].count('class ')
