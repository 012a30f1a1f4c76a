"""The first import of torch in a process."""

import gc
import subprocess
import sys

import pytest

from vireid.boundary.torch_import import without_collection


def test_no_garbage_is_collected_meanwhile_and_it_is_again_afterwards():
    with without_collection():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_within_restores_it_too():
    with pytest.raises(ImportError), without_collection():
        raise ImportError
    assert gc.isenabled()


def test_who_has_turned_it_off_finds_it_off():
    gc.disable()
    try:
        with without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


START = """
import gc, sys
from vireid.boundary.torch_import import prepare_torch_import
finders = len(sys.meta_path)
prepare_torch_import()
prepare_torch_import()
assert 'torch' not in sys.modules
import torch
print(torch.collected, gc.isenabled(), gc.get_freeze_count() > 0, torch.__spec__.name)
prepare_torch_import()
print(len(sys.meta_path) - finders)  # the one that puts off the compiler
"""


def test_torch_is_imported_without_collection_and_only_when_it_is_asked_for(tmp_path):
    (tmp_path / 'torch.py').write_text('import gc\ncollected = gc.isenabled()\n')
    code = f'import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{START}'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert result.stdout.splitlines() == ['False True True torch', '1'], result.stderr


def test_without_torch_the_error_is_the_usual_one(tmp_path):
    code = 'import sys\nfrom vireid.boundary.torch_import import prepare_torch_import\nprepare_torch_import()\n'
    code += 'sys.path[:] = []\nimport torch\n'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert result.stderr.endswith("ModuleNotFoundError: No module named 'torch'\n")
