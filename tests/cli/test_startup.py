"""What a process that has just begun imports."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_any_command_that_imports_torch_imports_it_without_collection():
    code = 'import gc\nfrom vireid.cli import main\nmain(["config", "check", "configs/tffn_demo.py"])\n'
    code += 'import torch\nprint(gc.isenabled(), gc.get_freeze_count() > 100_000)'
    result = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout.splitlines()[-1] == 'True True', result.stderr


NOT_NEEDED = ('torch._dynamo.eval_frame', 'triton', 'scipy.optimize', 'scipy.stats', 'sklearn', 'pandas')
NOT_NEEDED += ('matplotlib', 'timm', 'vireid.studies', 'vireid.search', 'vireid.serve', 'vireid.exchange')
PLUGIN = """
import os, sys, vireid

@vireid.hookimpl
def step_ended(run):
    print('loaded:', *(name for name in sys.modules), flush=True)
    os._exit(0)
"""


@pytest.mark.long
def test_a_run_reaches_its_first_step_without_what_it_does_not_need(people, tmp_path):
    (tmp_path / 'look.py').write_text(PLUGIN)
    options = ['images.size=[48,24]', 'training.precision=32-true', 'sampler.identities=2', 'images.workers=0']
    command = ['train', 'configs/tffn_demo.py', '--data-root', people, '--work-dir', tmp_path / 'run']
    command += ['--plugin', tmp_path / 'look.py', '--cfg-options', *options]
    result = subprocess.run(
        [sys.executable, '-m', 'vireid', *map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    loaded = result.stdout.partition('loaded: ')[2].split()
    assert 'torch.optim' in loaded, result.stderr  # it got there
    assert [name for name in NOT_NEEDED if name in loaded] == []
