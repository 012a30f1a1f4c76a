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

from vireid.synth import synthesize

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / 'examples' / 'vireid-gated-fusion'


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope='module')
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment in which vireid can be imported, and nothing else is installed."""
    folder = tmp_path_factory.mktemp('environment')
    venv.create(folder, with_pip=True, symlinks=True)
    purelib = next(folder.glob('lib/python*/site-packages'))
    # site.addsitedir, so that an editable installation of vireid is found there too
    linked = f'import site; site.addsitedir({sysconfig.get_paths()["purelib"]!r})\n'
    (purelib / 'linked.pth').write_text(linked)
    return folder / 'bin'


def test_its_wheel_is_installed_used_by_config_and_removed(environment: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(EXAMPLE, tmp_path / 'source'))
    built = run(
        sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '--no-index', source,
        '--wheel-dir', tmp_path, cwd=tmp_path,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob('*.whl')
    python, pip = environment / 'python', (environment / 'python', '-m', 'pip')
    installed = run(*pip, 'install', '--quiet', '--no-deps', '--no-index', wheel, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr

    listed = run(python, '-m', 'vireid', 'plugins', cwd=tmp_path)
    assert ['vireid-gated-fusion', 'vireid-gated-fusion', '0.1.0', 'active', '1'] in [
        line.split() for line in listed.stdout.splitlines()
    ], listed.stderr
    tested = run(python, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', source / 'tests', cwd=tmp_path)
    assert '2 passed' in tested.stdout, tested.stdout

    synthesize(tmp_path / 'people', layout='sysu', ids=8, seed=0, images=2, workers=1)
    train = (
        python, '-m', 'vireid', 'train', 'vireid-gated-fusion::tffn_gated.py', '--data-root', tmp_path / 'people',
        '--cfg-options', 'training.steps=3', 'images.size=[64,32]', 'protocol.trials=2',
        'sampler.identities=2', 'sampler.visible=2', 'sampler.infrared=2',
    )  # fmt: skip
    trained = run(*train, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert 'all single-shot' in trained.stdout
    assert (tmp_path / 'runs/tffn_gated/checkpoints/last.pt').exists()

    removed = run(*pip, 'uninstall', '--yes', '--quiet', 'vireid-gated-fusion', cwd=tmp_path)
    assert removed.returncode == 0, removed.stderr
    gone = run(*train, cwd=tmp_path)
    assert gone.returncode == 2
    assert "no package 'vireid-gated-fusion' offers configs" in gone.stderr
    config = EXAMPLE / 'vireid_gated_fusion/configs/tffn_gated.py'
    gone = run(*(config if '::' in str(word) else word for word in train), cwd=tmp_path)
    assert gone.returncode == 2
    assert 'requires: the package vireid-gated-fusion is not installed' in gone.stderr
    assert "pip install 'vireid-gated-fusion>=0.1'" in gone.stderr
