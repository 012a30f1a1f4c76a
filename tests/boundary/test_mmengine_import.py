"""yapf's grammars, which mmengine reads from the user's cache folder, when they were not written to the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

IMPORT = 'import vireid.core.config.files as files; files.lay_over({"a": 1}, {"b": 2}, "x"); print("read")'


def read_a_config(cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, 'XDG_CACHE_HOME': str(cache)}
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    return subprocess.Popen([sys.executable, '-c', IMPORT], env=environment, text=True, **pipes)


def require_read(process: subprocess.Popen[str]) -> None:
    out, err = process.communicate(timeout=120)
    assert (out, process.returncode) == ('read\n', 0), err


@pytest.mark.skipif(sys.platform != 'linux', reason='the cache is in another folder')
@pytest.mark.parametrize('left', [0, 100])
def test_grammars_cut_short_are_written_again(tmp_path, left):
    require_read(read_a_config(tmp_path))
    grammars = sorted(tmp_path.rglob('*.pickle'))
    whole = [path.read_bytes() for path in grammars]
    assert len(whole) == 2
    for path in grammars:
        os.truncate(path, left)
    require_read(read_a_config(tmp_path))
    assert [path.read_bytes() for path in grammars] == whole
