"""`examples/vireid-gated-fusion` as its author ships it: a wheel, installed beside vireid, used by config, removed.

The environment is fresh but for a link to where vireid and PyTorch are installed: some gigabytes less to copy.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / 'examples' / 'vireid-gated-fusion'


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope='module')
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment in which vireid can be imported, and nothing else is installed."""
    folder = tmp_path_factory.mktemp('environment')
    venv.create(folder, with_pip=False, symlinks=True)
    purelib = next(folder.glob('lib/python*/site-packages'))
    # site.addsitedir, so that an editable installation of vireid is found there too
    linked = f'import site; site.addsitedir({sysconfig.get_paths()["purelib"]!r})\n'
    (purelib / 'linked.pth').write_text(linked)
    return folder / 'bin'


@pytest.mark.long
def test_its_wheel_is_installed_used_by_config_and_removed(environment: Path, small_sysu: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(EXAMPLE, tmp_path / 'source'))
    built = run(
        sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '--no-index', source,
        '--wheel-dir', tmp_path, cwd=tmp_path,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob('*.whl')
    python = environment / 'python'
    pip = (sys.executable, '-m', 'pip', '--python', python, '--quiet')  # ours installs there: it needs none of its own
    installed = run(*pip, 'install', '--no-deps', '--no-index', '--no-compile', wheel, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr

    # what is done there, one after the other in one process: each would import PyTorch
    train = [
        'train', 'vireid-gated-fusion::tffn_gated.py', '--data-root', str(small_sysu),
        '--cfg-options', 'training.steps=1', 'images.size=[64,32]', 'images.workers=0', 'protocol.trials=1',
        'sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2', 'loggers=[{"type": "Console"}]',
        'model.backbone.out_stages=[2,3]', 'model.necks.s4.inputs=stage3',
        *(f'model.necks.{name}.channels=64' for name in ('s2', 's3', 's4')),
    ]  # fmt: skip
    does = f"""
import pytest
from vireid.cli import main

assert main(['plugins']) == 0
assert main({train!r}) == 0
assert pytest.main(['-q', '-p', 'no:cacheprovider', {str(source / 'tests')!r}]) == 0
"""
    used = run(python, '-c', does, cwd=tmp_path)
    assert used.returncode == 0, used.stderr
    assert ['vireid-gated-fusion', 'vireid-gated-fusion', '0.1.0', 'active', '1'] in [
        line.split() for line in used.stdout.splitlines()
    ], used.stderr
    assert '2 passed' in used.stdout
    assert 'all single-shot' in used.stdout
    assert (tmp_path / 'runs/tffn_gated/checkpoints/last.pt').exists()

    removed = run(*pip, 'uninstall', '--yes', 'vireid-gated-fusion', cwd=tmp_path)
    assert removed.returncode == 0, removed.stderr
    file = [str(EXAMPLE / 'vireid_gated_fusion/configs/tffn_gated.py') if '::' in word else word for word in train]
    does = f'from vireid.cli import main\nassert (main({train!r}), main({file!r})) == (2, 2)'
    gone = run(python, '-c', does, cwd=tmp_path)
    assert gone.returncode == 0, gone.stderr
    assert "no package 'vireid-gated-fusion' provides configs" in gone.stderr
    assert 'requires: the package vireid-gated-fusion is not installed' in gone.stderr
    assert 'pip install "vireid-gated-fusion>=0.1"' in gone.stderr
