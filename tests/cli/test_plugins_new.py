"""`vireid plugins new`: what it writes works at once, by its own test, and as an installed package."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vireid.cli import main
from vireid.errors import AlreadyExists, WrongValue
from vireid.plugin_manager.new_plugin import write_plugin


@pytest.fixture(autouse=True)
def forget(tmp_path: Path) -> Iterator[None]:
    """The next test has a package of the same name."""
    yield
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in str(getattr(module, '__file__', None)):
            del sys.modules[name]


class Passed:
    """A plugin of pytest: counts the tests that passed."""

    def __init__(self) -> None:
        self.count = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.count += report.when == 'call' and report.passed


@pytest.mark.parametrize('part', ['neck', pytest.param('loss', marks=pytest.mark.long)])
def test_its_own_test_passes_at_once(tmp_path, monkeypatch, capsys, part):
    monkeypatch.chdir(tmp_path)
    assert main(['plugins', 'new', 'vireid-mean-fusion', '--part', part]) == 0
    assert "pip install -e './vireid-mean-fusion[test]' && pytest vireid-mean-fusion" in capsys.readouterr().out
    folder = tmp_path / 'vireid-mean-fusion'
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    passed = Passed()
    assert pytest.main(['-q', '-p', 'no:cacheprovider'], plugins=[passed]) == 0
    assert passed.count == 2


@pytest.mark.long
def test_as_an_installed_package_it_is_a_plugin(tmp_path, monkeypatch, capsys):
    write_plugin('vireid-mean-fusion', tmp_path)
    site = tmp_path / 'site'
    # as pip does, without the network: build the wheel with what is here, and unpack it
    built = subprocess.run(
        [
            sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation', '--no-index',
            '--no-compile', '--target', str(site), str(tmp_path / 'vireid-mean-fusion'),
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(site))
        assert main(['plugins']) == 0
        assert ['vireid-mean-fusion', 'vireid-mean-fusion', '0.1.0', 'active', '1'] in [
            line.split() for line in capsys.readouterr().out.splitlines()
        ]
        assert main(['components', 'necks', 'MeanFusion']) == 0
        assert 'A weighted sum of features' in capsys.readouterr().out
        assert main(['train', 'vireid-mean-fusion::tffn_neck.py', '--dry-run']) == 0
    # without the package the name is unknown
    config = tmp_path / 'vireid-mean-fusion/vireid_mean_fusion/configs/tffn_neck.py'
    assert main(['train', str(config), '--dry-run']) == 2
    error = capsys.readouterr().err
    assert "no neck called 'MeanFusion'" in error
    assert 'install the plugin that registers it' in error


@pytest.mark.parametrize('name', ['', 'Vireid-X', 'a b', '../x', 'vireid', 'x-', '1x', 'a--b', 'a_b'])
def test_what_is_no_name_is_refused(tmp_path, name):
    with pytest.raises(WrongValue, match=re.escape(repr(name))):
        write_plugin(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / 'mine').mkdir()
    with pytest.raises(AlreadyExists, match='mine'):
        write_plugin('mine', tmp_path)


def test_a_name_is_needed(capsys):
    assert main(['plugins', 'new']) == 2
    assert 'vireid plugins new vireid-my-fusion' in capsys.readouterr().err
