"""Runs the files and commands of docs/plugins.md and docs/plugin-kinds.md."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from vireid.cli import main

pytestmark = pytest.mark.usefixtures('narrow_resnet')

DOCS = Path(__file__).parents[1] / 'docs'
GUIDE = ''.join((DOCS / page).read_text(encoding='utf-8') for page in ('plugins.md', 'plugin-kinds.md'))
BLOCKS = re.findall(r'```(python|console|toml)\n(.*?)```', GUIDE, re.DOTALL)


def files() -> dict[str, str]:
    """Returns the guide's files by name: blocks that begin with it."""
    return {text.partition('\n')[0].removeprefix('# '): text for language, text in BLOCKS if language != 'console'}


def commands() -> list[list[tuple[str, list[str]]]]:
    """Returns, for each block, its commands and the output lines shown after each."""
    typed = [text.split('$ ')[1:] for language, text in BLOCKS if language == 'console']
    found = [[part.splitlines() for part in block] for block in typed]
    return [[(command, shown) for command, *shown in block] for block in found]


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
    entries = tomllib.loads(files()['pyproject.toml'])['project']['entry-points']['vireid.plugins']
    lines = ''.join(f'{name} = {module}\n' for name, module in entries.items())
    (info / 'entry_points.txt').write_text(f'[vireid.plugins]\n{lines}')
    return folder


@pytest.mark.parametrize('block', commands(), ids=[block[0][0][:60] for block in commands()])
def test_commands_print_what_is_shown(folder, monkeypatch, capsys, block):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for command, shown in block:
        assert shown
        words = shlex.split(command)
        assert words[0] == 'vireid'
        # without the page of a report: that is tested elsewhere
        main(words[1:] + (['--cfg-options', 'loggers=[{"type": "Console"}]'] if words[1] == 'test' else []))
        printed = capsys.readouterr()
        for line in shown:
            assert line in printed.out + printed.err, command


def test_what_is_packaged_is_complete(folder, tmp_path):
    """Built as pip would, but with the setuptools that is installed, since pip downloads its own."""
    build = f'from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})'
    subprocess.run([sys.executable, '-c', build], cwd=folder, check=True, capture_output=True)
    (wheel,) = tmp_path.glob('acme_tools-1.0-*.whl')
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {'acme_tools.py', 'acme_hello.py', 'acme_configs/acme_small.py'} <= names


class Passed:
    """A plugin of pytest: counts the tests that passed."""

    def __init__(self) -> None:
        self.count = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.count += report.when == 'call' and report.passed


def test_its_test_passes(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    passed = Passed()
    assert pytest.main(['-q', '-p', 'no:cacheprovider', 'test_acme.py'], plugins=[passed]) == 0
    assert passed.count == 7
    for name, module in list(sys.modules.items()):  # `acme` is a common name
        if str(folder) in str(getattr(module, '__file__', None)):
            del sys.modules[name]


def test_registering_is_one_line_for_a_class():
    for name in ('acme.py', 'acme_heads.py', 'acme_model.py', 'acme_step.py'):
        lines = [line for line in files()[name].splitlines() if line.strip().startswith('add(')]
        assert len(lines) == files()[name].count('class ')
