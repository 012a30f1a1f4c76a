"""`vireid plugins new`: what it writes works at once, by its own test, and as an installed package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vireid.cli import main
from vireid.cli.plugins_new import write_plugin
from vireid.core.errors import VireidError


def run(*words: str, cwd: Path, path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, 'PYTHONPATH': str(path)}
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_its_own_test_passes_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['plugins', 'new', 'vireid-mean-fusion']) == 0
    assert "pip install -e './vireid-mean-fusion[test]' && pytest vireid-mean-fusion" in capsys.readouterr().out
    folder = tmp_path / 'vireid-mean-fusion'
    tested = run('-m', 'pytest', '-q', '-p', 'no:cacheprovider', cwd=folder, path=folder)
    assert tested.returncode == 0, tested.stdout
    assert '2 passed' in tested.stdout


def test_as_an_installed_package_it_is_a_plugin(tmp_path):
    write_plugin('vireid-mean-fusion', tmp_path)
    site = tmp_path / 'site'
    # as pip does, without the network: build the wheel with what is here, and unpack it
    built = run(
        '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation', '--no-index', '--target', str(site),
        str(tmp_path / 'vireid-mean-fusion'), cwd=tmp_path, path=Path(),
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    listed = run('-m', 'vireid', 'plugins', cwd=tmp_path, path=site)
    assert ['vireid-mean-fusion', 'vireid-mean-fusion', '0.1.0', 'active', '1'] in [
        line.split() for line in listed.stdout.splitlines()
    ]
    described = run('-m', 'vireid', 'components', 'necks', 'MeanFusion', cwd=tmp_path, path=site)
    assert 'Adds features up, each with a learnt weight' in described.stdout
    tried = run('-m', 'vireid', 'train', 'vireid-mean-fusion::tffn_fused.py', '--dry-run', cwd=tmp_path, path=site)
    assert tried.returncode == 0, tried.stderr
    # without the package the name is unknown
    config = tmp_path / 'vireid-mean-fusion/vireid_mean_fusion/configs/tffn_fused.py'
    gone = run('-m', 'vireid', 'train', str(config), '--dry-run', cwd=tmp_path, path=Path())
    assert gone.returncode == 2
    assert "no neck called 'MeanFusion'" in gone.stderr
    assert 'install the plugin that registers it' in gone.stderr


@pytest.mark.parametrize('name', ['', 'Vireid-X', 'a b', '../x', 'vireid', 'x-', '1x', 'a--b', 'a_b'])
def test_what_is_no_name_is_refused(tmp_path, name):
    with pytest.raises(VireidError, match='vireid-my-fusion'):
        write_plugin(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / 'mine').mkdir()
    with pytest.raises(VireidError, match='exists'):
        write_plugin('mine', tmp_path)


def test_a_name_is_needed(capsys):
    assert main(['plugins', 'new']) == 2
    assert 'vireid plugins new vireid-my-fusion' in capsys.readouterr().err
