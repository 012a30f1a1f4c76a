"""`vireid plot` and `vireid.plot`: figures of run folders."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path

import numpy as np
import pytest

import vireid
from vireid.cli import main
from vireid.cli.plot import DEFAULTS, HELP
from vireid.errors import UnknownKey
from vireid.reporting.evidence import FILE, Evidence
from vireid.reporting.figures import FIGURES, OPTIONS, WIDTHS
from vireid.reporting.figures.style import COLUMN, PAGE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a finished run, with a CMC and three steps."""
    (tmp_path / 'config.yaml').write_text('name: tffn\n')
    lines = [{'step': step, 'epoch': step, 'loss': 1.0 / step, 'lr': 0.1} for step in (1, 2, 3)]
    (tmp_path / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    about = {
        **dict.fromkeys(('data', 'weights', 'similarity', 'trial'), ''),
        **{key: [] for key in ('rows', 'notes', 'images', 'identities', 'cameras', 'pairs', 'kinds')},
        **{'name': 'tffn', 'protocol': 'cross', 'graph': {'nodes': [], 'edges': []}},
    }
    Evidence(about, cmc={'all': np.linspace(0.5, 1, 20)}).save(tmp_path / FILE)
    return tmp_path


def test_it_writes_the_file_and_says_so(folder, capsys):
    file = folder / 'cmc.pdf'
    assert main(['plot', 'cmc', str(folder), '-o', str(file), '--width', 'page', '--ranks', '5']) == 0
    assert capsys.readouterr().out == f'cmc of tffn written to {file}\n'
    assert file.read_bytes().startswith(b'%PDF')


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['cmd'], "there is no figure 'cmd', did you mean 'cmc'?"),
        (['cmc', '--pairs', '2'], 'pairs is for cam, features'),
        (['graph', '--rows', 'all'], 'rows is for cmc'),
        (['cmc', '--width', 'wide'], "--width is 'wide'"),
        (['cmc', '--width', 'nan'], 'cmc.width is nan'),
        (['cmc', '-o', 'cmc.gif'], 'cmc.gif is not a figure format'),
        (['rankings'], 'tffn: no ranking lists in its evidence'),
    ],
)
def test_what_cannot_be_drawn(folder, capsys, words, message):
    figure, *flags = words
    flags = flags if '-o' in flags else [*flags, '-o', str(folder / 'out.svg')]
    assert main(['plot', figure, str(folder), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / 'out.svg').exists()


def test_a_folder_without_a_run(tmp_path, capsys):
    assert main(['plot', 'cmc', str(tmp_path), '-o', str(tmp_path / 'out.svg')]) == 2
    assert 'contains no run' in capsys.readouterr().err


def test_help_is_fast_and_knows_all_options():
    code = 'import sys; from vireid.cli import main\ntry: main(["plot", "--help"])\nexcept SystemExit: pass\n'
    code += 'assert not {"torch", "matplotlib", "numpy"} & set(sys.modules)'
    told = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    for option in {option for own in OPTIONS.values() for option in own}:
        assert f'--{option} ' in told
    assert set(HELP) == {option for own in OPTIONS.values() for option in own}
    assert {'column': COLUMN, 'page': PAGE} == WIDTHS


@pytest.mark.parametrize('figure', OPTIONS)
def test_the_help_has_the_defaults_of_the_figures(figure):
    module, _, function = FIGURES[figure].partition(':')
    drawn = signature(getattr(import_module(module), function)).parameters
    for option in OPTIONS[figure]:
        assert DEFAULTS.get(option) == drawn[option].default


def test_from_python_it_returns_the_figure(folder):
    figure = vireid.plot('weights', folder, folder / 'a.svg', width=4)
    assert figure.get_figwidth() == 4
    assert (folder / 'a.svg').is_file()
    other = folder / 'other'
    other.mkdir()
    for name in ('config.yaml', FILE):
        (other / name).write_bytes((folder / name).read_bytes())
    curves = vireid.plot('cmc', [str(folder), other]).axes[0].lines
    assert [line.get_label() for line in curves] == [f'tffn ({folder.name})', 'tffn (other)']
    with pytest.raises(UnknownKey, match="'kind'"):
        vireid.plot('cmc', folder, kind='best')
